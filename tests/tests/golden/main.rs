//! Replays recorded runs of the real operator on the embedded bed and compares.
//!
//! `FIREDRILL_GOLDEN_VOLSYNC` names the folder of recordings; where there is none the test is skipped with
//! its reason, unless `FIREDRILL_REQUIRE` names `golden`. A case counts as equal only if nothing differs:
//! objects, order of creation and deletion, settled status, repository contents, what pods saw, events.
//! Cases that differ are listed with their first difference; fewer equal ones than [`EQUAL_MIN`] fail.

mod case;
mod compare;
mod host;
mod recording;
mod replay;
mod view;

use std::thread;

use testbed::subject::Profile;

/// How many of the recorded cases are equal today. Raise it when one more is.
const EQUAL_MIN: usize = 10;

fn cases() -> Option<Vec<case::Case>> {
    let Some(folder) = case::folder() else {
        let reason = "no recordings: set FIREDRILL_GOLDEN_VOLSYNC to their folder";
        let required = std::env::var("FIREDRILL_REQUIRE").unwrap_or_default();
        assert!(!required.split(',').any(|part| part == "golden"), "required, but {reason}");
        println!("skipped: {reason}");
        return None;
    };
    let cases = case::read_all(&folder).expect("the recordings read");
    assert!(!cases.is_empty(), "{} holds no recording", folder.display());
    Some(cases)
}

#[test]
fn golden_runs_of_the_real_operator_are_replayed() {
    let Some(cases) = cases() else { return };
    let only = std::env::var("FIREDRILL_GOLDEN_CASE").ok();
    let shows_all = only.is_some() || std::env::var("FIREDRILL_GOLDEN_ALL").is_ok();
    let mut equal = 0;
    let chosen: Vec<_> =
        cases.iter().filter(|case| only.as_ref().is_none_or(|only| case.name == *only)).collect();
    // One thread each: a bed owns its thread's runtime, and a case that panics is a difference too.
    let play = |case: &case::Case| {
        let case = case.clone();
        thread::spawn(move || replay::replayed(&case, Profile::Original))
    };
    let played: Vec<_> = chosen.iter().map(|case| play(case)).collect();
    for (case, played) in chosen.into_iter().zip(played) {
        let differences = match played.join() {
            Ok(Ok(replayed)) => compare::differences(&recording::recorded(case), &replayed),
            Ok(Err(error)) => vec![format!("does not play: {error:#}")],
            Err(panic) => vec![format!("panics: {}", panic_text(panic.as_ref()))],
        };
        match differences.first() {
            None => {
                equal += 1;
                println!("equal      {}", case.name);
            }
            Some(first) => println!("different  {}: {first} (and {} more)", case.name, differences.len() - 1),
        }
        if shows_all {
            for difference in &differences {
                println!("  {difference}");
            }
        }
    }
    println!("{equal} of {} recorded runs are equal", cases.len());
    assert!(
        only.is_some() || equal >= EQUAL_MIN,
        "only {equal} recorded runs are equal; {EQUAL_MIN} were before"
    );
}

#[test]
fn the_safe_profile_is_told_from_the_original() {
    let Some(cases) = cases() else { return };
    // A restore that finds nothing: the original reports success, the safe profile creates no repository.
    let case = cases.into_iter().find(|case| case.name == "d-restore-nothing").expect("it was recorded");
    let recorded = recording::recorded(&case);
    let played = thread::spawn(move || replay::replayed(&case, Profile::Safe)).join();
    let is_equal =
        matches!(played, Ok(Ok(replayed)) if compare::differences(&recorded, &replayed).is_empty());
    assert!(!is_equal, "the comparison does not see which profile ran");
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "?".to_owned())
}

#[test]
fn the_comparison_sees_what_was_altered() {
    let Some(cases) = cases() else { return };
    for case in &cases {
        let recorded = recording::recorded(case);
        assert_eq!(compare::differences(&recorded, &recorded), Vec::<String>::new(), "{}", case.name);
        let seen = |alter: &dyn Fn(&mut compare::Run)| {
            let mut altered = recorded.clone();
            alter(&mut altered);
            !compare::differences(&recorded, &altered).is_empty()
        };
        let specified = recorded.view.objects.iter().position(|shape| shape.spec != json::json!({}));
        let specified = specified.expect("some object has a specification");
        assert!(
            seen(&|run| run.view.objects[specified].spec = json::json!({})),
            "{}: specification",
            case.name
        );
        assert!(seen(&|run| run.view.objects[0].labels = json::json!({})), "{}: labels", case.name);
        assert!(seen(&|run| run.view.objects[0].owners.clear()), "{}: owners", case.name);
        assert!(seen(&|run| drop(run.view.objects.pop())), "{}: missing object", case.name);
        assert!(seen(&|run| run.view.order.reverse()), "{}: order", case.name);
        assert!(seen(&|run| drop(run.view.settled.pop_first())), "{}: status", case.name);
        assert!(seen(&|run| drop(run.view.events.pop_first())), "{}: event", case.name);
        assert!(seen(&|run| drop(run.repositories.pop_first())), "{}: repository", case.name);
    }
}
