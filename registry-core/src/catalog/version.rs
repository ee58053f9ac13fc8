//! Versions and the schemes that order them.

use alloc::sync::Arc;
use core::cmp::Ordering;
use core::fmt;

use crate::catalog::spec::Unresolved;

/// What fixes the order of versions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Scheme {
    /// Position in the log.
    Opaque,
    /// Debian policy, 5.6.12.
    Debian,
    /// Semantic Versioning 2.0.0.
    Semver,
}

impl Scheme {
    /// Its name in statements.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opaque => "opaque",
            Self::Debian => "debian",
            Self::Semver => "semver",
        }
    }

    /// The scheme of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Opaque, Self::Debian, Self::Semver].into_iter().find(|scheme| scheme.as_str() == name)
    }
}

/// A version: 1 to 64 printable ASCII characters without spaces or `/`, and the scheme that orders it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Version {
    /// The text, valid in its scheme.
    pub text: Arc<str>,
    /// The scheme.
    pub scheme: Scheme,
}

impl Version {
    /// Checks and wraps a version.
    ///
    /// # Errors
    /// What is wrong with the text in this scheme.
    pub fn new(text: &str, scheme: Scheme) -> Result<Self, &'static str> {
        let version = Self { text: text.into(), scheme };
        version.validate()?;
        Ok(version)
    }

    pub(crate) fn validate(&self) -> Result<(), &'static str> {
        Self::check_text(&self.text)?;
        match self.scheme {
            Scheme::Opaque => Ok(()),
            Scheme::Debian => Debian::parse(&self.text).map(|_| ()).ok_or("not a version by Debian policy"),
            Scheme::Semver => self.semver().map(|_| ()).ok_or("not a semantic version"),
        }
    }

    /// What holds of a version's text in every scheme.
    pub(crate) fn check_text(text: &str) -> Result<(), &'static str> {
        if text.is_empty() || text.len() > 64 {
            return Err("must have 1 to 64 characters");
        }
        if !text.bytes().all(|b| b.is_ascii_graphic() && b != b'/') {
            return Err("must be printable ASCII without spaces and /");
        }
        Ok(())
    }

    pub(crate) fn semver(&self) -> Option<semver::Version> {
        match self.scheme {
            Scheme::Semver => semver::Version::parse(&self.text).ok(),
            Scheme::Opaque | Scheme::Debian => None,
        }
    }

    /// Is it a pre-release of the `semver` scheme?
    pub fn is_prerelease(&self) -> bool {
        self.semver().is_some_and(|version| !version.pre.is_empty())
    }
}

/// By scheme (opaque, debian, semver), then by the scheme's own rules, then by text: a total order. For the `opaque`
/// scheme the text says nothing; see [`ReleaseInfo::cmp_version`](crate::catalog::ReleaseInfo::cmp_version).
impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_rule = || match (self.scheme, other.scheme) {
            (Scheme::Semver, Scheme::Semver) => self.semver().cmp(&other.semver()),
            (Scheme::Debian, Scheme::Debian) => Debian::parse(&self.text).cmp(&Debian::parse(&other.text)),
            (Scheme::Opaque | Scheme::Debian | Scheme::Semver, _) => Ordering::Equal,
        };
        self.scheme.cmp(&other.scheme).then_with(by_rule).then_with(|| self.text.cmp(&other.text))
    }
}

/// The order of two versions of one package, each with its position in the log: never equal.
pub(crate) fn cmp_released(a: (&Version, u64), b: (&Version, u64)) -> Ordering {
    match (a.0.scheme, b.0.scheme) {
        (Scheme::Opaque, Scheme::Opaque) => a.1.cmp(&b.1),
        (Scheme::Opaque | Scheme::Debian | Scheme::Semver, _) => a.0.cmp(b.0),
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `[epoch:]upstream[-revision]`
struct Debian<'a> {
    epoch: u32,
    upstream: &'a str,
    revision: &'a str,
}

impl<'a> Debian<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (epoch, rest) = match text.split_once(':') {
            Some((epoch, rest)) => (epoch.bytes().all(|b| b.is_ascii_digit()).then(|| epoch.parse().ok())??, rest),
            None => (0, text),
        };
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, "0"));
        let of = |part: &str, also: &[u8]| part.bytes().all(|b| b.is_ascii_alphanumeric() || also.contains(&b));
        let starts_with_digit = upstream.starts_with(|c: char| c.is_ascii_digit());
        let valid = starts_with_digit && of(upstream, b".+-~:") && !revision.is_empty() && of(revision, b"+.~");
        valid.then_some(Self { epoch, upstream, revision })
    }
}

impl Ord for Debian<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_upstream = || cmp_part(self.upstream.as_bytes(), other.upstream.as_bytes());
        let by_revision = || cmp_part(self.revision.as_bytes(), other.revision.as_bytes());
        self.epoch.cmp(&other.epoch).then_with(by_upstream).then_with(by_revision)
    }
}

impl PartialOrd for Debian<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Debian<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Debian<'_> {}

/// Alternates between runs of non-digits and of digits until the parts differ or end.
fn cmp_part(mut a: &[u8], mut b: &[u8]) -> Ordering {
    while !(a.is_empty() && b.is_empty()) {
        let (text_a, text_b) = (take(&mut a, |b| !b.is_ascii_digit()), take(&mut b, |b| !b.is_ascii_digit()));
        let longest = text_a.len().max(text_b.len());
        let texts = (0..longest).map(|i| rank(text_a.get(i)).cmp(&rank(text_b.get(i))));
        let (number_a, number_b) = (take(&mut a, u8::is_ascii_digit), take(&mut b, u8::is_ascii_digit));
        let order = texts.fold(Ordering::Equal, Ordering::then).then_with(|| cmp_number(number_a, number_b));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// Cuts off the longest prefix that holds.
fn take<'a>(rest: &mut &'a [u8], holds: impl Fn(&u8) -> bool) -> &'a [u8] {
    let end = rest.iter().position(|b| !holds(b)).unwrap_or(rest.len());
    let (head, tail) = rest.split_at(end);
    *rest = tail;
    head
}

/// A tilde sorts before the end, the end before letters, letters before everything else.
fn rank(byte: Option<&u8>) -> u16 {
    match byte {
        Some(b'~') => 0,
        None => 1,
        Some(letter) if letter.is_ascii_alphabetic() => u16::from(*letter) + 2,
        Some(other) => u16::from(*other) + 258,
    }
}

/// Of any length, so by text: without leading zeros the longer number is the larger.
fn cmp_number(a: &[u8], b: &[u8]) -> Ordering {
    let significant = |digits| -> &[u8] {
        let mut digits = digits;
        take(&mut digits, |b| *b == b'0');
        digits
    };
    let (a, b) = (significant(a), significant(b));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// Picks what the `@...` of a [`PackageSpec`](crate::catalog::PackageSpec) asks for from versions in ascending order.
pub(crate) fn pick<'a, T>(
    ascending: &'a [T],
    wanted: Option<&str>,
    version: impl Fn(&T) -> &Version,
    is_yanked: impl Fn(&T) -> bool,
) -> Result<&'a T, Unresolved> {
    let highest = |fits: &dyn Fn(&Version) -> bool| {
        let mut fitting = ascending.iter().rev().filter(|entry| fits(version(entry))).peekable();
        let nothing = if fitting.peek().is_some() { Unresolved::Yanked } else { Unresolved::Unknown };
        fitting.find(|entry| !is_yanked(entry)).ok_or(nothing)
    };
    let Some(wanted) = wanted else {
        return match highest(&|version| !version.is_prerelease()) {
            Err(Unresolved::Unknown) => highest(&|_| true),
            picked => picked,
        };
    };
    if let Some(exact) = ascending.iter().rev().find(|entry| *version(entry).text == *wanted) {
        return Ok(exact);
    }
    // A whole version is no range.
    match (semver::VersionReq::parse(wanted), semver::Version::parse(wanted), ascending.last().map(&version)) {
        (Ok(range), Err(_), Some(last)) => {
            let is_written_as_range = wanted.contains(['^', '~', '<', '>', '=', '*', ',']);
            if is_written_as_range && last.scheme != Scheme::Semver {
                return Err(Unresolved::NoRanges(last.scheme));
            }
            highest(&|version| version.semver().is_some_and(|version| range.matches(&version)))
        }
        _ => Err(Unresolved::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(scheme: Scheme) -> impl Fn(&str) -> Version {
        move |text| Version::new(text, scheme).unwrap()
    }

    fn assert_ascending(scheme: Scheme, texts: &[&str]) {
        let versions: alloc::vec::Vec<_> = texts.iter().copied().map(version(scheme)).collect();
        for (i, a) in versions.iter().enumerate() {
            for (j, b) in versions.iter().enumerate() {
                assert_eq!(a.cmp(b), i.cmp(&j), "{a} and {b}");
            }
        }
    }

    #[test]
    fn semver_orders_by_precedence() {
        assert_ascending(
            Scheme::Semver,
            &[
                "1.0.0-alpha",
                "1.0.0-alpha.1",
                "1.0.0-alpha.beta",
                "1.0.0-beta.2",
                "1.0.0-beta.11",
                "1.0.0",
                "1.0.1",
                "1.10.0",
            ],
        );
    }

    #[test]
    fn debian_orders_by_policy() {
        assert_ascending(
            Scheme::Debian,
            &[
                "1.0~~",
                "1.0~~a",
                "1.0~",
                "1.0",
                "1.0-1",
                "1.0a",
                "1.0+b1",
                "1.0.1-1",
                "1.2-1",
                "1.10-1~bpo1",
                "1.10-1",
                "2.0",
                "1:0.1",
            ],
        );
        let equal = [version(Scheme::Debian)("1.00-0"), version(Scheme::Debian)("1.0")];
        assert!(Debian::parse(&equal[0].text) == Debian::parse(&equal[1].text));
        assert_ne!(equal[0].cmp(&equal[1]), Ordering::Equal);
    }

    #[test]
    fn unfit_texts_are_refused() {
        for text in ["", "1.0", "01.0.0", "1.0.0 ", "1.0.0/2", "v1.0.0", "1.0.0\u{e9}"] {
            assert!(Version::new(text, Scheme::Semver).is_err(), "{text}");
        }
        for text in ["", "a1", "x:1", "1_0", "1-", "4294967296:1", "1 0"] {
            assert!(Version::new(text, Scheme::Debian).is_err(), "{text}");
        }
        assert!(Version::new(&"9".repeat(65), Scheme::Opaque).is_err());
        assert!(Version::new("any~thing@all", Scheme::Opaque).is_ok());
    }

    #[test]
    fn a_specification_picks_one_version() {
        let all: alloc::vec::Vec<_> =
            ["0.9.0", "1.2.0", "1.2.9", "1.3.0-rc.1", "2.0.0-rc.1"].map(version(Scheme::Semver)).into();
        let picked = |wanted| pick(&all, wanted, |v| v, |_| false).map(|v| &*v.text);
        assert_eq!(picked(None), Ok("1.2.9"));
        for (wanted, version) in [
            ("1.2", "1.2.9"),
            ("^1.2.0", "1.2.9"),
            ("^1", "1.2.9"),
            ("~1.2", "1.2.9"),
            (">=0.9, <1.2.9", "1.2.0"),
            ("<1", "0.9.0"),
            ("*", "1.2.9"),
            ("=1.2.0", "1.2.0"),
            ("1.2.0", "1.2.0"),
            ("2.0.0-rc.1", "2.0.0-rc.1"),
            (">=1.3.0-rc.0, <1.4", "1.3.0-rc.1"),
        ] {
            assert_eq!(picked(Some(wanted)), Ok(version), "{wanted}");
        }
        for wanted in ["1.2.1", ">=3", "^2", "~1.3", "nonsense"] {
            assert_eq!(picked(Some(wanted)), Err(Unresolved::Unknown), "{wanted}");
        }
        let only_candidates = [version(Scheme::Semver)("1.0.0-a")];
        assert_eq!(pick(&only_candidates, None, |v| v, |_| false), Ok(&only_candidates[0]));
    }

    #[test]
    fn what_is_yanked_is_picked_by_name_only() {
        let all: alloc::vec::Vec<_> = ["1.0.0", "1.1.0", "2.0.0"].map(version(Scheme::Semver)).into();
        let picked =
            |wanted, yanked: &[&str]| pick(&all, wanted, |v| v, |v| yanked.contains(&&*v.text)).map(|v| &*v.text);
        assert_eq!(picked(None, &["2.0.0"]), Ok("1.1.0"));
        assert_eq!(picked(Some("^1"), &["1.1.0"]), Ok("1.0.0"));
        assert_eq!(picked(Some("^2"), &["2.0.0"]), Err(Unresolved::Yanked));
        assert_eq!(picked(Some("2.0.0"), &["2.0.0"]), Ok("2.0.0"));
        assert_eq!(picked(None, &["1.0.0", "1.1.0", "2.0.0"]), Err(Unresolved::Yanked));
    }

    #[test]
    fn only_semver_has_ranges() {
        for scheme in [Scheme::Debian, Scheme::Opaque] {
            let all = [version(scheme)("1.2")];
            let picked = |wanted| pick(&all, Some(wanted), |v| v, |_| false);
            assert_eq!(picked("1.2"), Ok(&all[0]));
            assert_eq!(picked("1.3"), Err(Unresolved::Unknown));
            for range in ["^1", "~1.2", ">=1, <2", "*"] {
                assert_eq!(picked(range), Err(Unresolved::NoRanges(scheme)), "{range}");
            }
        }
    }

    fn any_version() -> impl Strategy<Value = Version> {
        let scheme = prop_oneof![Just(Scheme::Opaque), Just(Scheme::Debian), Just(Scheme::Semver)];
        let text = prop_oneof!["[0-3]\\.[0-9a~+.-]{0,6}", "[0-2]\\.[0-2]\\.[0-2](-[a-c0-2]{1,2})?"];
        (text, scheme).prop_filter_map("invalid", |(text, scheme)| Version::new(&text, scheme).ok())
    }

    proptest! {
        #[test]
        fn the_order_is_total(a in any_version(), b in any_version(), c in any_version()) {
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            prop_assert_eq!(a.cmp(&b) == Ordering::Equal, a == b);
            if a <= b && b <= c {
                prop_assert!(a <= c);
            }
        }
    }
}
