//! Repositories: their Secrets, and what stands in them.

use json::json;
use scenario::{
    Name,
    step::{Place, Repository},
};
use testbed::{
    inspect::{self, Contents},
    verbs::REPOSITORY_MOUNT,
};

use super::{Failure, Stage, Told, stage::Built};

/// The key under which a ConfigMap holds an authority's certificate.
const CA_KEY: &str = "ca.crt";

/// The ConfigMap that holds the authority of a repository's store.
fn authority_of(repository: &Name) -> String {
    format!("{}-ca", repository.name())
}

impl Stage {
    pub(super) fn build_repository(&mut self, repository: &Repository) -> Told {
        let on = repository
            .on
            .clone()
            .unwrap_or_else(|| Place::Bucket(format!("bucket-{}", repository.name.name())));
        let password =
            repository.password.clone().unwrap_or_else(|| format!("password of {}", repository.name));
        if let Place::Claim(claim) = &on {
            let claim =
                scenario::step::Claim { name: claim.clone(), filled_from: None, class: None, capacity: None };
            self.build_claim(&claim)?;
            self.await_bound(&claim.name)?;
        }
        let reach = self.bed_mut().make_place(&on)?;
        let built = Built { on, reach, password, unique_id: None };
        self.repositories.insert(repository.name.clone(), built);
        self.give_secret(&repository.name, repository.name.namespace())?;
        Ok(String::new())
    }

    /// The Secret of a repository in a namespace that uses it.
    pub(super) fn give_secret(&mut self, repository: &Name, namespace: &str) -> Result<(), Failure> {
        self.ensure_namespace(namespace)?;
        let built = self.built(repository)?.clone();
        let mut data = json!({"KOPIA_PASSWORD": built.password});
        for (key, value) in built.reach.secret {
            data[key] = json!(value);
        }
        self.apply(&json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": repository.name(), "namespace": namespace},
            "stringData": data,
        }))?;
        if let Some(authority) = built.reach.authority {
            self.apply(&json!({
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": authority_of(repository), "namespace": namespace},
                "data": {CA_KEY: authority},
            }))?;
        }
        Ok(())
    }

    /// The `customCA` with which a mover trusts a repository's store; none where nobody needs one.
    pub(super) fn custom_ca(&self, repository: &Name) -> Option<json::Value> {
        self.repositories.get(repository)?.reach.authority.as_ref()?;
        Some(json!({"configMapName": authority_of(repository), "key": CA_KEY}))
    }

    /// The `moverVolumes` that a mover needs to reach a repository; none for a bucket.
    pub(super) fn mover_volumes(&self, repository: &Name) -> Option<json::Value> {
        let source = self.repositories.get(repository)?.reach.volume_source.as_ref()?;
        Some(json!([{"mountPath": REPOSITORY_MOUNT, "volumeSource": source}]))
    }

    pub(super) fn built(&self, repository: &Name) -> Result<&Built, Failure> {
        self.repositories.get(repository).ok_or_else(|| {
            Failure::broken(format!("the scenario builds no repository {repository}: add a step that does"))
        })
    }

    /// The blobs of a repository as they lie.
    fn blobs(&mut self, repository: &Name) -> Result<inspect::Blobs, Failure> {
        let place = self.built(repository)?.on.clone();
        self.bed_mut()
            .blobs(&place)?
            .ok_or_else(|| Failure::violated(format!("the place of {repository} is gone")))
    }

    /// Looks into a repository as an operator with its password would; `None` if it was never created.
    pub(super) fn contents(&mut self, repository: &Name) -> Result<Option<Contents>, Failure> {
        let (blobs, password) = (self.blobs(repository)?, self.built(repository)?.password.clone());
        let contents = self.bed().look_into(&blobs, &password).map_err(|error| {
            Failure::violated(format!("the repository {repository} cannot be opened: {error}"))
        })?;
        if let (Some(contents), Some(built)) = (&contents, self.repositories.get_mut(repository))
            && built.unique_id.is_none()
        {
            built.unique_id = Some(contents.unique_id.clone());
        }
        Ok(contents)
    }

    fn verified(&mut self, repository: &Name) -> Result<inspect::Verified, Failure> {
        let (blobs, password) = (self.blobs(repository)?, self.built(repository)?.password.clone());
        let verified = self.bed().verify(&blobs, &password);
        verified
            .map_err(|error| {
                Failure::violated(format!("the repository {repository} cannot be verified: {error}"))
            })?
            .ok_or_else(|| {
                Failure::violated(format!(
                    "the repository {repository} does not exist: nothing was ever written"
                ))
            })
    }

    pub(super) fn must_contents(&mut self, repository: &Name) -> Result<Contents, Failure> {
        self.contents(repository)?.ok_or_else(|| {
            Failure::violated(format!("the repository {repository} does not exist: nothing was ever written"))
        })
    }

    /// Notes the unique ids of repositories that have come into being, so that a change can be seen.
    pub(super) fn note_repositories(&mut self) -> Result<(), Failure> {
        let names: Vec<_> = self
            .repositories
            .iter()
            .filter(|(_, built)| built.unique_id.is_none())
            .map(|(name, _)| name.clone())
            .collect();
        for name in names {
            let _ = self.contents(&name)?;
        }
        Ok(())
    }

    pub(super) fn expect_verifies(&mut self, repository: &Name) -> Told {
        let verified = self.verified(repository)?;
        if verified.reasons.is_empty() && verified.snapshots > 0 {
            return Ok(format!("{} snapshots, {} files read", verified.snapshots, verified.files));
        }
        let reasons = if verified.snapshots == 0 {
            "it holds no snapshot".to_owned()
        } else {
            verified.reasons.join("; ")
        };
        Err(Failure::violated(format!("the repository {repository} does not verify: {reasons}")))
    }

    pub(super) fn expect_fails_naming(&mut self, repository: &Name, naming: &[String]) -> Told {
        let found: std::collections::BTreeSet<_> = self.verified(repository)?.damaged.into_iter().collect();
        let wanted: std::collections::BTreeSet<_> = naming.iter().cloned().collect();
        if found == wanted {
            return Ok(format!("{} paths", found.len()));
        }
        Err(Failure::violated(format!("verification of {repository} names {found:?} instead of {wanted:?}")))
    }

    pub(super) fn expect_same_repository(&mut self, repository: &Name) -> Told {
        let known = self.built(repository)?.unique_id.clone();
        let contents = self.must_contents(repository)?;
        match known {
            Some(known) if known != contents.unique_id => Err(Failure::violated(format!(
                "{repository} is another repository now: {} instead of {known}",
                contents.unique_id
            ))),
            Some(known) => Ok(known),
            None => Err(Failure::broken(format!(
                "{repository} was not looked at before: expect something of it earlier"
            ))),
        }
    }

    pub(super) fn expect_maintenance_owner(&mut self, repository: &Name, owner: &str) -> Told {
        let contents = self.must_contents(repository)?;
        if contents.maintenance_owner == owner {
            return Ok(String::new());
        }
        Err(Failure::violated(format!(
            "{repository} is maintained by {:?} instead of {owner:?}",
            contents.maintenance_owner
        )))
    }
}
