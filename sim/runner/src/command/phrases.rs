//! `firedrill phrases`: what a feature can say.

use scenario::phrase::{self, Below, template};

/// Arguments of `firedrill phrases`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Shows only phrases that contain this text.
    #[arg(value_name = "TEXT")]
    contains: Option<String>,
}

/// Prints a sample of each phrase.
pub fn command(args: &Args) -> anyhow::Result<u8> {
    let mut shown = 0;
    for phrase in phrase::table() {
        let [full, _] = template::samples(phrase.template);
        if args.contains.as_ref().is_some_and(|text| !full.contains(text.as_str())) {
            continue;
        }
        let below = match phrase.below {
            Below::Nothing => "",
            Below::Fields => "   (may have a table | field | value |)",
            Below::NeedsFields => "   (needs a table | field | value |)",
            Below::Document => "   (needs a text between \"\"\")",
        };
        println!("{} {full}{below}", phrase.keyword);
        shown += 1;
    }
    if shown == 0 { Ok(super::EXIT_NOTHING) } else { Ok(0) }
}
