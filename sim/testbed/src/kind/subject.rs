//! The subject's life in a real cluster: its Deployment scaled, its pods killed, its metrics page read.

use std::time::Duration;

use json::json;

use super::Bed;
use crate::{
    actor::cluster::{name, text},
    verbs::Trouble,
};

const SIGKILL: i32 = 9;
/// How long a controller gets to come up or to go.
const ROLL_OUT: Duration = Duration::from_secs(120);

impl Bed {
    /// Takes the controller away as a killed pod: no farewell, nothing finished, nobody starts another.
    pub(super) fn stop_subject(&mut self) -> Result<(), Trouble> {
        self.scale(0)?;
        let namespace = self.at.subject.namespace.clone();
        for pod in self.subject_pods()? {
            let gone = self.runtime.block_on(self.objects.delete("Pod", &namespace, &pod, Some(0)));
            gone.map_err(|refused| Trouble::Broken(format!("the controller's pod {pod} stays: {refused}")))?;
        }
        self.wait_for("the controller's pods to be gone", ROLL_OUT, |bed| {
            bed.subject_pods().is_ok_and(|pods| pods.is_empty()).then_some(())
        })?;
        self.record.note("the subject's controller was stopped");
        Ok(())
    }

    /// Starts the controller anew, with empty caches.
    pub(super) fn restart_subject(&mut self) -> Result<(), Trouble> {
        self.stop_subject()?;
        self.scale(1)?;
        self.wait_for("the controller to be ready", ROLL_OUT, |bed| {
            let subject = &bed.at.subject;
            let look = bed.objects.get("Deployment", &subject.namespace, &subject.deployment);
            let deployment = bed.runtime.block_on(look).ok()??;
            (deployment["status"]["readyReplicas"] == 1).then_some(())
        })?;
        self.record.note("the subject's controller was started");
        Ok(())
    }

    /// Who holds the controller's Lease, which is called as its Deployment is.
    pub(super) fn subject_leader(&self) -> Option<String> {
        let subject = &self.at.subject;
        let look = self.objects.get("Lease", &subject.namespace, &subject.deployment);
        let lease = self.runtime.block_on(look).ok()??;
        let holder = text(&lease, "/spec/holderIdentity");
        (!holder.is_empty()).then(|| holder.to_owned())
    }

    /// Kills the process that holds the Lease, from its node: the Lease stays held by the dead, and kubelet starts
    /// another process.
    pub(super) fn kill_subject_leader(&mut self) -> Result<(), Trouble> {
        let Some(leader) = self.subject_leader() else {
            return Err(Trouble::Broken("no controller holds the Lease".to_owned()));
        };
        let namespace = self.at.subject.namespace.clone();
        let pods = self.subject_pods()?;
        let pod = pods.iter().find(|pod| leader.starts_with(pod.as_str()));
        let pod = pod.ok_or_else(|| Trouble::Broken(format!("{leader} is none of the pods {pods:?}")))?;
        let object = self.runtime.block_on(self.objects.get("Pod", &namespace, pod));
        let object = object.map_err(|refused| Trouble::Broken(refused.to_string()))?.unwrap_or_default();
        self.signal_object(&object, SIGKILL)?;
        self.record.note(format!("the controller {leader} was killed"));
        Ok(())
    }

    /// The metrics page of the controller that leads, through the API server.
    pub(super) fn subject_metrics(&self) -> Result<String, Trouble> {
        let subject = &self.at.subject;
        let mut pages = Vec::new();
        for pod in self.subject_pods()? {
            let path = format!(
                "/api/v1/namespaces/{}/pods/{pod}:{}/proxy/metrics",
                subject.namespace, subject.metrics_port
            );
            let request = http::Request::get(path).body(Vec::new()).expect("the path is plain");
            let page = self.runtime.block_on(self.objects.client().request_text(request));
            pages.push(page.map_err(|error| {
                Trouble::Broken(format!(
                    "the controller's metrics cannot be read: {}",
                    super::api::chain(&error)
                ))
            })?);
        }
        Ok(pages.join("\n"))
    }

    fn scale(&mut self, replicas: u32) -> Result<(), Trouble> {
        let subject = self.at.subject.clone();
        let patch = json!({"spec": {"replicas": replicas}});
        let scaled = self.objects.patch("Deployment", &subject.namespace, &subject.deployment, &patch);
        let scaled = self.runtime.block_on(scaled);
        scaled.map(drop).map_err(|refused| {
            Trouble::Unsupported(format!("the controller {} cannot be scaled: {refused}", subject.deployment))
        })
    }

    /// Names of the controller's pods.
    fn subject_pods(&self) -> Result<Vec<String>, Trouble> {
        let subject = &self.at.subject;
        let pods = self.runtime.block_on(self.objects.list("Pod", &subject.namespace));
        let pods = pods.map_err(|refused| Trouble::Broken(format!("pods cannot be listed: {refused}")))?;
        let (key, value) = subject.selector.split_once('=').unwrap_or((subject.selector.as_str(), ""));
        let mine = pods.iter().filter(|pod| pod["metadata"]["labels"][key] == value);
        let running = mine.filter(|pod| text(pod, "/status/phase") == "Running");
        Ok(running.map(|pod| name(pod).to_owned()).collect())
    }
}
