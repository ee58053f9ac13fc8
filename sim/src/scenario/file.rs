//! Scenario files: how they are read, and those that come with the simulator.

use serde::de::DeserializeOwned;

use super::Scenario;

macro_rules! library {
    ($($name:literal),* $(,)?) => {
        /// Scenarios that come with the simulator, by name.
        pub const LIBRARY: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../scenarios/", $name, ".toml")))),*];
    };
}

library![
    "standard",
    "churn",
    "loss",
    "calm",
    "small",
    "swarm",
    "churn-30",
    "sudden-loss",
    "region",
    "swizzle",
    "flash-crowd",
    "flash-join",
    "liars",
    "eclipse-one",
    "eclipse-all",
    "eclipse-publishers",
    "censor-one",
    "degradation",
    "cold-boot",
    "covert-flash",
    "attack-at-dawn",
    "co-located",
    "sybil-near-key",
    "search-spam",
    "equivocation"
];

impl Scenario {
    /// One of the library by its name, or a file by its path.
    ///
    /// # Errors
    /// When there is neither, or it is not a scenario.
    pub fn load(name: &str) -> Result<Self, String> {
        let told = |error| format!("{name}: {error}");
        if let Some((_, text)) = LIBRARY.iter().find(|(known, _)| *known == name) {
            return Self::parse(text).map_err(told);
        }
        let is_path = name.contains(['/', '.']);
        if !is_path {
            let names = LIBRARY.iter().map(|(known, _)| *known);
            return Err(format!("there is no scenario {name:?}{}; `sim list` shows them", did_you_mean(name, names)));
        }
        let text = std::fs::read_to_string(name).map_err(|error| told(error.to_string()))?;
        Self::parse(&text).map_err(told)
    }

    /// From the text of a file.
    ///
    /// # Errors
    /// When it is not a scenario: what does not belong there, and what was perhaps meant.
    pub fn parse(text: &str) -> Result<Self, String> {
        let scenario: Self = from_toml(text)?;
        scenario.validate()?;
        Ok(scenario)
    }
}

/// From TOML; a key that is not known is refused, with the nearest that is.
///
/// # Errors
/// What is wrong, and where.
pub fn from_toml<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|error| {
        let mut quoted = error.message().split('`').skip(1).step_by(2);
        let unknown = quoted.next().unwrap_or_default();
        let hint = if error.message().starts_with("unknown") { did_you_mean(unknown, quoted) } else { String::new() };
        format!("{}{hint}", error.to_string().trim_end())
    })
}

fn did_you_mean<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> String {
    /// Likeness of two words from which on one is taken for the other.
    const ALIKE: f64 = 0.7;
    let likeness = |known: &str| strsim::jaro_winkler(unknown, known);
    let nearest = known.max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    nearest.filter(|known| likeness(known) >= ALIKE).map_or(String::new(), |known| format!("; did you mean `{known}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_the_directory_and_all_of_it_can_be_read() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
        let mut files: Vec<String> = std::fs::read_dir(directory)
            .expect("it is there")
            .map(|entry| entry.expect("it can be read").file_name().into_string().expect("plain names"))
            .collect();
        files.sort_unstable();
        let mut names: Vec<String> = LIBRARY.iter().map(|(name, _)| format!("{name}.toml")).collect();
        names.sort_unstable();
        assert_eq!(names, files);
        for (name, _) in LIBRARY {
            let scenario = Scenario::load(name).unwrap_or_else(|error| panic!("{error}"));
            assert!(!scenario.about.is_empty(), "{name} does not say what it is about");
            let written = toml::to_string(&scenario).expect("plain data");
            assert_eq!(Scenario::parse(&written), Ok(scenario), "{name} is not what it is when written");
        }
    }

    #[test]
    fn every_phase_of_the_library_happens_unless_it_is_cut_short() {
        for (name, text) in LIBRARY {
            let scenario = Scenario::parse(text).unwrap();
            assert_eq!(scenario.too_late().count(), 0, "{name}");
        }
        let mut short = Scenario::load("sudden-loss").unwrap();
        short.work.lasts = 120 * crate::scenario::SECOND;
        assert_eq!(short.too_late().count(), 1);
    }

    #[test]
    fn unknown_keys_are_refused_with_the_nearest() {
        for (text, hint) in [
            ("[net]\nnoddes = 3", "did you mean `nodes`?"),
            ("[network]\nnodes = 3", "did you mean `net`?"),
            ("[knobs.kad]\nalfa = 3", "did you mean `alpha`?"),
            ("[[phase]]\nat = \"1s\"\nfault = { los = { ppm = 1 } }", "did you mean `loss`?"),
        ] {
            let error = Scenario::parse(text).expect_err("not a scenario");
            assert!(error.contains(hint), "{error}");
        }
        let error = Scenario::load("standart").expect_err("no such name");
        assert!(error.contains("did you mean `standard`?"), "{error}");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for text in [
            "[net]\nnodes = 1",
            "[net]\njoin = \"soon\"",
            "[[phase]]\nat = \"1s\"\nfault = \"reset\"\nwho = { share = 1.5 }",
            "[[phase]]\nat = \"1s\"\nfault = \"reset\"\nwho = { nodes = [1000] }",
            "[work]\nfor = \"30s\"",
            "[[phase]]\nat = \"1s\"\nfault = \"reset\"\nwho = { region = -0.1 }",
            "[[crowd]]\nat = \"1s\"\nshare = 2.0\nwithin = \"1s\"",
            "[net]\nlate = { share = 1.1, at = \"1s\", within = \"1s\" }",
        ] {
            assert!(Scenario::parse(text).is_err(), "{text}");
        }
    }
}
