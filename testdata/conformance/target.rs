//! What is known of the server under test, and the octets that the cases' text stands for.

use std::time::Duration;

/// Larger limits are not tried out: it would take too long.
const MOST_TRIED: u64 = 1_000_000;

/// What a message is made of that is too large.
const LINE: &str = "thirty octets and a line's end\\r\\n";
const LINE_LEN: u64 = 32;

/// The server under test.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// An address it takes mail from.
    pub(crate) from: String,
    /// An address it takes mail for.
    pub(crate) to: String,
    /// One it does not take mail for.
    pub(crate) bad: Option<String>,
    /// What the client calls itself.
    pub(crate) name: String,
    pub(crate) lmtp: bool,
    /// The `AUTH` that it wants before mail, as a line.
    pub(crate) login: Option<String>,
    /// The only group to be run.
    pub(crate) only: Option<String>,
    /// How long it may take to answer.
    pub(crate) wait: Duration,
    /// Its reply to `EHLO` without the first line.
    pub(crate) offered: Vec<String>,
}

impl Target {
    pub(crate) fn new(to: &str) -> Self {
        Self {
            from: "sender@client.example".to_owned(),
            to: to.to_owned(),
            bad: None,
            name: "client.example".to_owned(),
            lmtp: false,
            login: None,
            only: None,
            wait: Duration::from_secs(10),
            offered: Vec::new(),
        }
    }

    /// The first of `needs` that is not there: `LMTP`, `SMTP`, an extension, one with a parameter (`AUTH=PLAIN`), none of an extension (`-SIZE`).
    pub(crate) fn lacks(&self, needs: &[String]) -> Option<String> {
        let has = |need: &str| match need {
            "LMTP" => self.lmtp,
            "SMTP" => !self.lmtp,
            need => self.offers(need),
        };
        let missing = needs.iter().find(|need| need.strip_prefix('-').map_or(!has(need), has));
        missing.cloned()
    }

    fn offers(&self, need: &str) -> bool {
        let (keyword, parameter) = need.split_once('=').map_or((need, None), |(word, rest)| (word, Some(rest)));
        let is = |word: &str, other: &str| word.eq_ignore_ascii_case(other);
        self.offered.iter().any(|line| {
            let mut words = line.split(' ');
            words.next().is_some_and(|word| is(word, keyword))
                && parameter.is_none_or(|parameter| words.any(|word| is(word, parameter)))
        })
    }

    /// One more octet than it takes.
    fn too_large(&self) -> Option<u64> {
        let sizes = self.offered.iter().filter_map(|line| line.strip_prefix("SIZE "));
        sizes.filter_map(|size| size.parse().ok()).find(|size| *size > 0).map(|size: u64| size + 1)
    }

    /// The octets of a text with its placeholders, its repetitions and its escapes; `None` where a placeholder has no value.
    pub(crate) fn expand(&self, text: &str) -> Option<Vec<u8>> {
        let mut text = text.to_owned();
        let domain = self.to.rsplit('@').next().unwrap_or_default();
        // Local parts may tell upper from lower case.
        let shouted = self.to.replace(domain, &domain.to_ascii_uppercase());
        let size = self.too_large().map(|size| size.to_string());
        let lines = self.too_large().filter(|size| *size <= MOST_TRIED).map(|size| size / LINE_LEN + 1);
        let oversize = lines.map(|lines| format!("{{{LINE}*{lines}}}"));
        let oversize_len = lines.map(|lines| (lines * LINE_LEN).to_string());
        let values = [
            ("{from}", Some(self.from.as_str())),
            ("{to}", Some(&self.to)),
            ("{domain}", Some(domain)),
            ("{TO}", Some(&shouted)),
            ("{login}", self.login.as_deref()),
            ("{bad}", self.bad.as_deref()),
            ("{name}", Some(&self.name)),
            ("{hello}", Some(if self.lmtp { "LHLO" } else { "EHLO" })),
            ("{too-large}", size.as_deref()),
            ("{oversize}", oversize.as_deref()),
            ("{oversize-len}", oversize_len.as_deref()),
        ];
        for (name, value) in values {
            if text.contains(name) {
                text = text.replace(name, value?);
            }
        }
        Some(unescaped(&repeated(&text)))
    }
}

/// `{text*3}` is `texttexttext`.
fn repeated(text: &str) -> String {
    let Some((before, rest)) = text.split_once('{') else { return text.to_owned() };
    let (inner, after) = rest.split_once('}').unwrap_or_else(|| panic!("no }} in {text}"));
    let (part, count) = inner.rsplit_once('*').unwrap_or_else(|| panic!("{{{inner}}} is unknown"));
    let count = count.parse().unwrap_or_else(|_| panic!("{{{inner}}} is unknown"));
    format!("{before}{}{}", part.repeat(count), repeated(after))
}

/// `\r`, `\n`, `\t`, `\0`, `\\` and `\xNN` undone.
fn unescaped(text: &str) -> Vec<u8> {
    let (mut octets, mut rest) = (Vec::new(), text);
    while let Some((before, after)) = rest.split_once('\\') {
        octets.extend_from_slice(before.as_bytes());
        let (octet, len) = match after.chars().next() {
            Some('r') => (b'\r', 1),
            Some('n') => (b'\n', 1),
            Some('t') => (b'\t', 1),
            Some('0') => (0, 1),
            Some('\\') => (b'\\', 1),
            Some('x') => (after.get(1..3).and_then(|hex| u8::from_str_radix(hex, 16).ok()).unwrap_or(b'?'), 3),
            other => panic!("\\{other:?} in {text}"),
        };
        octets.push(octet);
        rest = after.get(len..).unwrap_or_default();
    }
    octets.extend_from_slice(rest.as_bytes());
    octets
}
