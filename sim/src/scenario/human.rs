//! Durations in files: `"250ms"`, `"1m 30s"`, `"2h"`; in the program they are microseconds.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// As a file has it.
pub fn text(micros: u64) -> String {
    humantime::format_duration(Duration::from_micros(micros)).to_string()
}

/// The microseconds of such a text.
///
/// # Errors
/// When it is no duration, or one beyond 2^64 microseconds.
pub fn parse(text: &str) -> Result<u64, String> {
    let duration = humantime::parse_duration(text).map_err(|error| format!("{text:?} is no duration: {error}"))?;
    duration.as_micros().try_into().map_err(|_| format!("{text:?} is too long"))
}

/// For `#[serde(with = "human")]`.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(micros: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    text(*micros).serialize(serializer)
}

/// For `#[serde(with = "human")]`.
///
/// # Errors
/// When there is no such text.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// The same of a duration that may be missing, for `#[serde(with = "human::option", default)]`.
pub mod option {
    use super::{Deserialize, Deserializer, Error, Serialize, Serializer, parse, text};

    /// See [`super::serialize`].
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(micros: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
        micros.map(text).serialize(serializer)
    }

    /// See [`super::deserialize`].
    ///
    /// # Errors
    /// When there is another text.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
        let text: Option<String> = Option::deserialize(deserializer)?;
        text.map(|text| parse(&text)).transpose().map_err(D::Error::custom)
    }
}
