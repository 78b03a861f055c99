//! Replication sources and destinations: building, triggering, and how often they ran.

use json::{Value, json};
use scenario::{
    Name, ObjectRef,
    expect::Count,
    fields::Fields,
    quantity::Span,
    step::{ReplicationDestination, ReplicationSource, Trigger},
};

use super::{Failure, Stage, Told};

/// Fields that stand beside `kopia` in a spec, not in it.
const BESIDE: &[&str] = &["paused", "trigger", "sourcePVC", "external"];

impl Stage {
    pub(super) fn build_replication_source(&mut self, source: &ReplicationSource) -> Told {
        self.give_secret(&source.into, source.name.namespace())?;
        let mut object = json!({
            "apiVersion": "volsync.backube/v1alpha1",
            "kind": "ReplicationSource",
            "metadata": {"name": source.name.name(), "namespace": source.name.namespace()},
            "spec": {"sourcePVC": source.of.name(), "kopia": {"repository": source.into.name(), "copyMethod": "Snapshot"}},
        });
        let class = self.must_get_kind("PersistentVolumeClaim", &source.of).ok();
        let class =
            class.and_then(|claim| Some(claim.pointer("/spec/storageClassName")?.as_str()?.to_owned()));
        if !class.is_some_and(|class| self.cuts_snapshots(&class)) {
            object["spec"]["kopia"]["copyMethod"] = json!("Direct");
        }
        self.complete(&mut object, &source.into, &source.trigger, &source.fields)?;
        self.repository_of.insert(source.name.clone(), source.into.clone());
        self.volume_of.insert(source.name.clone(), source.of.clone());
        self.apply(&object)?;
        Ok(String::new())
    }

    pub(super) fn build_replication_destination(&mut self, destination: &ReplicationDestination) -> Told {
        self.give_secret(&destination.from, destination.name.namespace())?;
        let mut object = json!({
            "apiVersion": "volsync.backube/v1alpha1",
            "kind": "ReplicationDestination",
            "metadata": {"name": destination.name.name(), "namespace": destination.name.namespace()},
            "spec": {"kopia": {"repository": destination.from.name()}},
        });
        let kopia = &mut object["spec"]["kopia"];
        if let Some(of) = &destination.of {
            kopia["sourceIdentity"] = json!({"sourceName": of.name()});
            if of.namespace() != destination.name.namespace() {
                kopia["sourceIdentity"]["sourceNamespace"] = json!(of.namespace());
            }
        }
        if let Some(into) = &destination.into {
            kopia["destinationPVC"] = json!(into.name());
            kopia["copyMethod"] = json!("Direct");
        } else {
            kopia["copyMethod"] = json!("Snapshot");
            kopia["capacity"] = json!("10Gi");
            kopia["accessModes"] = json!(["ReadWriteOnce"]);
        }
        self.complete(&mut object, &destination.from, &destination.trigger, &destination.fields)?;
        self.repository_of.insert(destination.name.clone(), destination.from.clone());
        self.apply(&object)?;
        Ok(String::new())
    }

    fn cuts_snapshots(&self, class: &str) -> bool {
        let Some(class) = self.bed().get("StorageClass", "", class) else { return false };
        self.bed()
            .list("VolumeSnapshotClass", "")
            .iter()
            .any(|snapshots| snapshots["driver"] == class["provisioner"])
    }

    /// Trigger, mover volumes and the scenario's own fields.
    fn complete(
        &self,
        object: &mut Value,
        repository: &Name,
        trigger: &Trigger,
        fields: &Fields,
    ) -> Result<(), Failure> {
        match trigger {
            Trigger::Schedule(schedule) => object["spec"]["trigger"] = json!({"schedule": schedule}),
            Trigger::Manual(tag) => object["spec"]["trigger"] = json!({"manual": tag}),
            Trigger::Always => {}
        }
        if let Some(volumes) = self.mover_volumes(repository) {
            object["spec"]["kopia"]["moverVolumes"] = volumes;
        }
        if let Some(custom_ca) = self.custom_ca(repository) {
            object["spec"]["kopia"]["customCA"] = custom_ca;
        }
        self.set_spec(object, fields)
    }

    /// Sets fields of a replication's spec: those of the mover below `kopia`.
    pub(super) fn set_spec(&self, object: &mut Value, fields: &Fields) -> Result<(), Failure> {
        for (path, value) in fields.iter() {
            let first = path.split('.').next().unwrap_or_default();
            let place = if path.starts_with("metadata.") || path.starts_with("spec.") {
                path.clone()
            } else if BESIDE.contains(&first) {
                format!("spec.{path}")
            } else {
                format!("spec.kopia.{path}")
            };
            scenario::fields::set(object, &place, self.resolve(value)?);
        }
        Ok(())
    }

    /// A value with `@moment` replaced by the moment's time.
    pub(super) fn resolve(&self, value: &Value) -> Result<Value, Failure> {
        match value.as_str().and_then(|text| text.strip_prefix('@')) {
            Some(moment) => Ok(json!(self.moment(moment)?.to_string())),
            None => Ok(value.clone()),
        }
    }

    pub(super) fn trigger(&mut self, object: &ObjectRef, tag: &str) -> Told {
        let patch = json!({"spec": {"trigger": {"manual": tag}}});
        self.patch(object, &patch)?;
        Ok(String::new())
    }

    pub(super) fn syncs_of(&self, source: &Name) -> u32 {
        let count = self.scribe().ask(|book| book.syncs_of("ReplicationSource", source).len());
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    pub(super) fn expect_synchronised(&mut self, source: &Name, times: Count) -> Told {
        let status = self.must_get_kind("ReplicationSource", source)?;
        self.note_repositories()?;
        let seen = self.syncs_of(source);
        if times.allows(seen) {
            return Ok(format!("{seen} times"));
        }
        Err(Failure::violated(format!(
            "{source} has synchronised {seen} times instead of {times:?}: {}",
            explain(&status)
        )))
    }

    pub(super) fn expect_last_sync_within(&mut self, source: &Name, span: Span) -> Told {
        let last = self.scribe().ask(|book| book.syncs_of("ReplicationSource", source).last().copied());
        let last = last.ok_or_else(|| Failure::violated(format!("{source} has never synchronised")))?;
        let age = self.now().duration_since(last).as_secs();
        if age >= 0 && age.unsigned_abs() <= span.0 {
            return Ok(format!("{} old", Span(age.unsigned_abs())));
        }
        Err(Failure::violated(format!("the last sync of {source} is {age} s old, more than {span}")))
    }

    pub(super) fn expect_synchronising(&mut self, source: &Name, busy: bool) -> Told {
        let object = self.must_get_kind("ReplicationSource", source)?;
        let seen = object.pointer("/status/lastSyncStartTime").is_some_and(|time| !time.is_null());
        if seen == busy {
            return Ok(String::new());
        }
        Err(Failure::violated(format!(
            "{source} is {}synchronising: {}",
            if seen { "" } else { "not " },
            explain(&object)
        )))
    }
}

/// What an object's conditions say, for people.
pub(super) fn explain(object: &Value) -> String {
    let empty = json::List::default();
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array).unwrap_or(&empty);
    let words: Vec<_> = conditions
        .iter()
        .map(|condition| {
            let text = |key: &str| condition[key].as_str().unwrap_or_default().to_owned();
            format!("{}={} {}: {}", text("type"), text("status"), text("reason"), text("message"))
        })
        .collect();
    if words.is_empty() { "it has no condition".to_owned() } else { words.join("; ") }
}
