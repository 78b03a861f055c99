//! Phrases about the controller's process: its life, its Lease, and the node that it and the movers run on.

use super::{Keyword::*, Phrase, Said, phrase};
use crate::step::{Act, Await, Build, Step};

pub(super) const PHRASES: &[Phrase] = &[
    phrase(
        When,
        "the controller stops",
        |_| Ok(Step::When(Act::StopController)),
        |step| matches!(step, Step::When(Act::StopController)).then(Said::new),
    ),
    phrase(
        When,
        "the controller starts again",
        |_| Ok(Step::When(Act::RestartController)),
        |step| matches!(step, Step::When(Act::RestartController)).then(Said::new),
    ),
    phrase(
        Given,
        "a controller that leads by a lease",
        |_| Ok(Step::Given(Build::LeaderElection)),
        |step| matches!(step, Step::Given(Build::LeaderElection)).then(Said::new),
    ),
    phrase(
        When,
        "the leading controller is killed",
        |_| Ok(Step::When(Act::KillLeader)),
        |step| matches!(step, Step::When(Act::KillLeader)).then(Said::new),
    ),
    phrase(
        When,
        "another controller leads",
        |_| Ok(Step::When(Act::Await(Await::AnotherLeader))),
        |step| matches!(step, Step::When(Act::Await(Await::AnotherLeader))).then(Said::new),
    ),
    phrase(
        When,
        "the node loses power for a moment",
        |_| Ok(Step::When(Act::RebootNode)),
        |step| matches!(step, Step::When(Act::RebootNode)).then(Said::new),
    ),
];
