//! The bed of a run: the embedded one, a kind cluster that is started for it, or a cluster that stands already.
//!
//! Promises that a kind cluster is gone when the run is over, however it ends (a killed run's is swept by the next
//! one), unless it was to be kept; and that nothing is done to a cluster that nobody has named and marked.

use std::path::PathBuf;

use anyhow::Context as _;
use testbed::kind::{
    Bed, Coordinates,
    ground::{self, Ground},
};

use crate::drive::On;

/// What every scenario's namespaces and buckets begin with, before their number: of each run its own, because a
/// cluster that stays keeps what a killed run made.
#[expect(
    clippy::disallowed_methods,
    reason = "tells the runs on one cluster apart, and is in no record of virtual time"
)]
fn prefix() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("s{:05x}-", since.as_secs() & 0xf_ffff)
}

/// Where scenarios are played.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum BedName {
    /// A simulated cluster in virtual time.
    #[default]
    Embedded,
    /// A real cluster in containers, started for the run.
    Kind,
    /// A cluster that stands already and is marked as one for fire drills.
    Attached,
}

/// Arguments about the bed.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct BedArgs {
    /// Where scenarios are played.
    #[arg(long, value_enum, default_value_t)]
    pub bed: BedName,
    /// Leaves a kind cluster, and what scenarios made in any cluster, in place.
    #[arg(long)]
    pub keep: bool,
    /// The image of a kind cluster's nodes, such as a stock `kindest/node`; by default the one that
    /// `firedrill images build` makes.
    #[arg(long, value_name = "NAME")]
    pub node_image: Option<String>,
    /// A directory with the programs kit, controller and mover for a kind cluster; built from the checkout if not
    /// said.
    #[arg(long, value_name = "DIR")]
    pub programs: Option<PathBuf>,
    /// The kubeconfig of an attached cluster.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The context of an attached cluster in its kubeconfig.
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

/// A bed that stands.
pub struct Stands {
    on: On,
    ground: Option<Ground>,
}

impl Stands {
    /// Where scenarios are played.
    pub fn on(&self) -> On {
        self.on.clone()
    }

    /// How many scenarios run side by side: on a real cluster two, because they mostly wait.
    pub fn jobs(&self, asked: Option<u16>) -> Option<u16> {
        match self.on {
            On::Embedded => asked,
            On::Cluster { .. } => asked.or(Some(2)),
        }
    }

    /// Removes what was started.
    ///
    /// # Errors
    /// Something could not be removed.
    pub fn finish(self) -> anyhow::Result<()> {
        if let Some(ground) = self.ground
            && let Some(kept) = ground.finish()?
        {
            eprintln!("kept: {kept}");
        }
        Ok(())
    }
}

/// Makes the bed stand.
///
/// # Errors
/// It cannot, in a sentence with the cure.
pub fn prepare(args: &BedArgs) -> anyhow::Result<Stands> {
    let prefix = prefix();
    match args.bed {
        BedName::Embedded => Ok(Stands { on: On::Embedded, ground: None }),
        BedName::Attached => {
            let kubeconfig = args.kubeconfig.clone().context(
                "an attached cluster is named by hand: --kubeconfig FILE, and --context NAME if it has several",
            )?;
            let at = Coordinates {
                bed: "attached".to_owned(),
                kubeconfig,
                context: args.context.clone(),
                ..Coordinates::default()
            };
            let at = Bed::coordinates(&at)?;
            Ok(Stands { on: On::Cluster { at, prefix, keep: args.keep }, ground: None })
        }
        BedName::Kind => {
            let options = ground::Options {
                keep: args.keep,
                node_image: args.node_image.clone(),
                programs: args.programs.clone(),
                ..ground::Options::here()
            };
            let ground = Ground::prepare(&options)?;
            let at = ground.coordinates().clone();
            Ok(Stands { on: On::Cluster { at, prefix, keep: args.keep }, ground: Some(ground) })
        }
    }
}
