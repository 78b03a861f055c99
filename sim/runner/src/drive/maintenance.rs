//! The maintenance of repositories.

use json::json;
use scenario::step::Maintenance;

use super::{Stage, Told};

impl Stage {
    pub(super) fn build_maintenance(&mut self, maintenance: &Maintenance) -> Told {
        self.give_secret(&maintenance.of, maintenance.name.namespace())?;
        let mut object = json!({
            "apiVersion": "volsync.backube/v1alpha1",
            "kind": "KopiaMaintenance",
            "metadata": {"name": maintenance.name.name(), "namespace": maintenance.name.namespace()},
            "spec": {
                "repository": {"repository": maintenance.of.name()},
                "trigger": {"schedule": maintenance.schedule},
            },
        });
        if let Some(volumes) = self.mover_volumes(&maintenance.of) {
            object["spec"]["moverVolumes"] = volumes;
        }
        for (path, value) in maintenance.fields.iter() {
            let value = self.resolve(value)?;
            scenario::fields::set(&mut object, &format!("spec.{path}"), value);
        }
        self.apply(&object)?;
        Ok(String::new())
    }
}
