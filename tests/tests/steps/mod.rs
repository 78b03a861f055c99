//! The step definitions of stock cucumber, made from the phrase table.
//!
//! Each phrase of `scenario::phrase` is one definition with its own anchored expression: one translation
//! (sentence to step), one call ([`Stage::play`]). There is nothing to write here for a new phrase; a step
//! definition that acted by itself would be a second meaning of the same words.

use cucumber::{
    World,
    codegen::LocalBoxFuture,
    step::{Collection, Context},
};
use runner::{drive::Stage, feature};
use scenario::phrase::{self, Keyword};

/// One scenario's world: a bed of its own with a clock of its own.
#[derive(Default, World)]
pub struct Bed {
    /// Set before the first step, when the scenario's tags are known.
    pub stage: Option<Stage>,
}

impl std::fmt::Debug for Bed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.stage {
            Some(stage) => write!(f, "bed at {}", stage.now()),
            None => f.write_str("no bed"),
        }
    }
}

/// One definition per phrase.
pub fn collection() -> Collection<Bed> {
    phrase::table().fold(Collection::new(), |steps, one| match one.keyword {
        Keyword::Given => steps.given(None, one.regex(), play),
        Keyword::When => steps.when(None, one.regex(), play),
        Keyword::Then => steps.then(None, one.regex(), play),
    })
}

fn play(world: &mut Bed, context: Context) -> LocalBoxFuture<'_, ()> {
    let step = phrase::read(&feature::sentence(&context.step)).unwrap_or_else(|error| panic!("{error}"));
    let stage = world.stage.as_mut().expect("the bed is set before the first step");
    let told = stage.play(&step).unwrap_or_else(|failure| panic!("{}: {}", failure.verdict, failure.reason));
    drop(told);
    Box::pin(std::future::ready(()))
}
