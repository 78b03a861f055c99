//! The controller's process and the node below it: stopped, killed while it leads, without power.

use testbed::verbs::Verbs;

use super::{Failure, Stage, Told, stage::PATIENCE};

impl Stage {
    pub(super) fn stop_controller(&mut self) -> Told {
        self.bed_mut().stop_controller()?;
        Ok(String::new())
    }

    pub(super) fn restart_controller(&mut self) -> Told {
        self.bed_mut().restart_controller()?;
        Ok(String::new())
    }

    pub(super) fn elect_leader(&mut self) -> Told {
        self.bed_mut().elect_leader()?;
        Ok(self.wait_until("a controller to lead", PATIENCE, |bed| bed.leader())?)
    }

    pub(super) fn kill_leader(&mut self) -> Told {
        let leader = self.bed().leader().ok_or_else(|| {
            Failure::broken("no controller leads: say `Given a controller that leads by a lease`")
        })?;
        self.bed_mut().kill_leader()?;
        self.killed_leader = Some(leader.clone());
        Ok(leader)
    }

    pub(super) fn await_another_leader(&mut self) -> Told {
        let killed = self.killed_leader.clone().ok_or_else(|| {
            Failure::broken("no leader was killed: say `When the leading controller is killed`")
        })?;
        let what = format!("another controller than {killed} to lead");
        let leader = move |bed: &dyn Verbs| bed.leader().filter(|leader| *leader != killed);
        Ok(self.wait_until(&what, PATIENCE, leader)?)
    }

    pub(super) fn reboot_node(&mut self) -> Told {
        self.bed_mut().reboot_node()?;
        Ok(String::new())
    }
}
