//! Laws of the phrase table, walked over every phrase.

use super::*;

fn sample_sentences() -> Vec<(&'static Phrase, Sentence)> {
    let mut sentences = Vec::new();
    for phrase in table() {
        for text in template::samples(phrase.template) {
            let mut sentence = Sentence::new(phrase.keyword, text);
            if phrase.below == Below::Document {
                sentence.doc = Some(phrase.sample.to_owned());
            }
            if phrase.below == Below::NeedsFields {
                sentence.rows = vec![vec!["spec.paused".to_owned(), "true".to_owned()]];
            }
            sentences.push((phrase, sentence.clone()));
            if phrase.below == Below::Fields {
                sentence.rows = vec![vec!["copyMethod".to_owned(), "Direct".to_owned()]];
                sentences.push((phrase, sentence));
            }
        }
    }
    sentences
}

#[test]
fn phrase_to_step_to_yaml_and_back_is_a_round_trip() {
    let mut walked = 0;
    for (phrase, sentence) in sample_sentences() {
        let step = match read(&sentence) {
            Ok(step) => step,
            Err(Error::Part { problem, .. }) if problem.contains("a schedule and a tag together") => continue,
            Err(error) => panic!("{phrase:?}: {error}"),
        };
        let yaml = crate::yaml::write_step(&step);
        let again =
            crate::yaml::read_step(&yaml).unwrap_or_else(|error| panic!("{phrase:?}: {error}\n{yaml}"));
        assert_eq!(again, step, "{phrase:?}: YAML says another step\n{yaml}");
        assert_eq!(write(&again).as_ref(), Some(&sentence), "{phrase:?}: not written as it was read");
        walked += 1;
    }
    assert!(walked > 100, "only {walked} sentences were walked");
}

#[test]
fn each_sentence_fits_one_phrase_only() {
    for (phrase, sentence) in sample_sentences() {
        let fitting: Vec<_> = EXPRESSIONS
            .iter()
            .filter(|(other, expression)| {
                other.keyword == sentence.keyword && expression.is_match(&sentence.text)
            })
            .map(|(other, _)| other)
            .collect();
        assert_eq!(fitting.len(), 1, "{phrase:?}: {sentence} fits {fitting:?}");
    }
}

#[test]
fn an_unknown_sentence_is_answered_with_the_nearest_phrase() {
    let error =
        read(&Sentence::new(Keyword::Then, r#"the newest snapshot of "nightly" equals what "app" held"#))
            .unwrap_err();
    let Error::Unknown { nearest, .. } = &error else { panic!("{error}") };
    assert!(nearest.contains("the newest snapshot of"), "{nearest}");
}

#[test]
fn a_part_that_does_not_fit_is_named() {
    for (keyword, text, words) in [
        (Keyword::Given, r#"a volume "a/b/c" holding 1 files and 1 KiB from seed 1"#, "name"),
        (Keyword::Given, r#"a volume "a" holding 1 files and 1 KiB with wings from seed 1"#, "hard links"),
        (Keyword::Given, r#"a volume "a" holding 99999999999 files and 1 KiB from seed 1"#, "files"),
        (Keyword::When, r"the operator runs", "a text between"),
        (Keyword::When, r#"the Job "x" is set to"#, "a table"),
    ] {
        let error = read(&Sentence::new(keyword, text)).unwrap_err();
        assert!(matches!(error, Error::Part { .. }) && error.to_string().contains(words), "{text}: {error}");
    }
}

#[test]
fn what_stands_below_in_vain_is_refused() {
    let mut sentence = Sentence::new(Keyword::When, "24 hours pass");
    sentence.rows = vec![vec!["a".to_owned(), "b".to_owned()]];
    let error = read(&sentence).unwrap_err().to_string();
    assert!(error.contains("nothing may stand below"), "{error}");
}
