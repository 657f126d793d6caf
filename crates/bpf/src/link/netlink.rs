//! Messages of rtnetlink(7): what tc, XDP and routes need, no more.

use kscope_sys::{Errno, Kernel};

use crate::error::Error;

/// Flags of a request.
const REQUEST: u16 = 1;
const ACK: u16 = 4;
/// The kernel sends back what it made of the request.
pub(super) const ECHO: u16 = 8;
/// The thing must not be there yet.
pub(super) const EXCL: u16 = 0x200;
/// The thing is made.
pub(super) const CREATE: u16 = 0x400;
/// The thing may be there and is replaced.
pub(super) const REPLACE: u16 = 0x100;
/// All things of a kind are asked for.
pub(super) const DUMP: u16 = 0x300;
/// An attribute that holds attributes.
pub(super) const NESTED: u16 = 0x8000;

/// `NLMSG_ERROR`, which is an acknowledgement where the error is 0.
const ERROR: u16 = 2;
/// The answer carries words (`NLM_F_ACK_TLVS`), and not the whole request (`NLM_F_CAPPED`).
const WORDS: u16 = 0x200;
const CAPPED: u16 = 0x100;

/// A request in the making.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    what: &'static str,
    bytes: Vec<u8>,
    /// Whether an attribute is longer than its 16 bits of length can say.
    too_long: bool,
}

impl Request {
    /// Begins a message of a type with its fixed part; `what` names it in errors.
    pub(super) fn new(what: &'static str, kind: u16, flags: u16, fixed: &[u8]) -> Request {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((REQUEST | ACK | flags).to_ne_bytes());
        // Sequence number and port: one request to a socket of its own.
        bytes.extend([1u32.to_ne_bytes(), 0u32.to_ne_bytes()].concat());
        bytes.extend(fixed);
        Request {
            what,
            bytes,
            too_long: false,
        }
    }

    /// Adds an attribute.
    pub(super) fn attribute(mut self, kind: u16, value: &[u8]) -> Request {
        let length = self.length(value.len() + 4);
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    /// Adds a name, which ends with a NUL.
    pub(super) fn name(self, kind: u16, name: &str) -> Request {
        let bytes = [name.as_bytes(), &[0]].concat();
        self.attribute(kind, &bytes)
    }

    /// Adds a number.
    pub(super) fn number(self, kind: u16, number: u32) -> Request {
        self.attribute(kind, &number.to_ne_bytes())
    }

    /// Adds an attribute that holds those that `fill` adds.
    pub(super) fn nested(mut self, kind: u16, fill: impl FnOnce(Request) -> Request) -> Request {
        let start = self.bytes.len();
        self.bytes.extend([0; 4]);
        let mut all = fill(self);
        let length = all.length(all.bytes.len() - start);
        if let Some(head) = all.bytes.get_mut(start..start + 4) {
            head[..2].copy_from_slice(&length.to_ne_bytes());
            head[2..].copy_from_slice(&kind.to_ne_bytes());
        }
        all
    }

    fn length(&mut self, bytes: usize) -> u16 {
        u16::try_from(bytes).unwrap_or_else(|_| {
            self.too_long = true;
            u16::MAX
        })
    }

    /// Gives the message.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        if let Some(head) = bytes.get_mut(..4) {
            head.copy_from_slice(&length.to_ne_bytes());
        }
        bytes
    }

    /// Sends it; gives the fixed parts and attributes of the messages that came back before the
    /// kernel's verdict.
    pub(super) fn send(&self, kernel: &dyn Kernel) -> Result<Vec<Vec<u8>>, Error> {
        if self.too_long {
            let what = self.what;
            return Err(Error::invalid(format!(
                "{what}: a name or value is longer than the 65,531 bytes that netlink takes"
            )));
        }
        let answer = kernel.netlink(&self.bytes());
        let answer = answer.map_err(|errno| Error::os(self.what, errno, ""))?;
        verdict(&answer).map_err(|(errno, words)| Error::os(self.what, errno, words))
    }
}

/// Splits an answer into messages, up to the kernel's verdict.
fn verdict(answer: &[u8]) -> Result<Vec<Vec<u8>>, (Errno, String)> {
    let malformed = || (Errno::BADMSG, "an answer that makes no sense".to_owned());
    let mut messages = Vec::new();
    let mut rest = answer;
    while let Some(head) = rest.first_chunk::<8>() {
        let length = u32::from_ne_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let kind = u16::from_ne_bytes([head[4], head[5]]);
        let flags = u16::from_ne_bytes([head[6], head[7]]);
        let body = rest.get(16..length).ok_or_else(malformed)?;
        if kind == ERROR {
            let code = body.first_chunk().ok_or_else(malformed)?;
            let code = i32::from_ne_bytes(*code);
            if code == 0 {
                return Ok(messages);
            }
            return Err((Errno(code.wrapping_neg()), words(body, flags)));
        }
        messages.push(body.to_vec());
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(messages)
}

/// Gives what the kernel says of an error in words.
fn words(body: &[u8], flags: u16) -> String {
    const MESSAGE: u16 = 1;
    if flags & WORDS == 0 {
        return String::new();
    }
    // After the code comes the head of the request, and its body where the answer is not cut.
    let request = body.get(4..8).and_then(<[u8]>::first_chunk::<4>);
    let request = request.map_or(16, |length| u32::from_ne_bytes(*length) as usize);
    let skip = if flags & CAPPED == 0 { request } else { 16 };
    let attributes = skip
        .checked_add(4)
        .and_then(|skip| body.get(skip..))
        .unwrap_or_default();
    attribute(attributes, MESSAGE)
        .map(|text| {
            String::from_utf8_lossy(text)
                .trim_end_matches('\0')
                .to_owned()
        })
        .unwrap_or_default()
}

/// Finds an attribute.
pub(super) fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    while let Some(head) = attributes.first_chunk::<4>() {
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let kind = u16::from_ne_bytes([head[2], head[3]]) & !NESTED;
        let value = attributes.get(4..length)?;
        if kind == wanted {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_nested() {
        let request = Request::new("x", 36, CREATE, &[7; 4])
            .name(1, "bpf")
            .nested(2 | NESTED, |inner| inner.number(6, 9).attribute(7, b"a"));
        let bytes = request.bytes();
        let mut expected = Vec::new();
        let total = 16 + 4 + 8 + 4 + 8 + 8u32;
        expected.extend(total.to_ne_bytes());
        expected.extend(36u16.to_ne_bytes());
        expected.extend((CREATE | ACK | REQUEST).to_ne_bytes());
        expected.extend(1u32.to_ne_bytes());
        expected.extend(0u32.to_ne_bytes());
        expected.extend([7; 4]);
        expected.extend([8u16.to_ne_bytes(), 1u16.to_ne_bytes()].concat());
        expected.extend(b"bpf\0");
        expected.extend([20u16.to_ne_bytes(), (2 | NESTED).to_ne_bytes()].concat());
        expected.extend([8u16.to_ne_bytes(), 6u16.to_ne_bytes()].concat());
        expected.extend(9u32.to_ne_bytes());
        expected.extend([5u16.to_ne_bytes(), 7u16.to_ne_bytes()].concat());
        expected.extend(b"a\0\0\0");
        assert_eq!(bytes, expected);
    }

    #[test]
    fn what_no_attribute_holds_is_not_sent() {
        let request = |bytes: usize| Request::new("x", 36, 0, &[]).attribute(1, &vec![7; bytes]);
        assert!(!request(65_531).too_long);
        assert!(request(65_532).too_long);
        let names = "n".repeat(40_000);
        let nested = |inner: Request| inner.name(1, &names).name(2, &names);
        let error = Request::new("x", 36, 0, &[]).nested(3, nested);
        let error = error.send(&kscope_sys::FakeKernel::new(|_| Err(Errno::IO)));
        assert!(error.expect_err("too long").to_string().contains("65,531"));
    }

    /// An answer of one message, and a verdict with words.
    fn answer(code: i32, words: &str) -> Vec<u8> {
        let message = |kind: u16, flags: u16, body: &[u8]| {
            let mut bytes = (16 + body.len() as u32).to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(flags.to_ne_bytes());
            bytes.extend([0; 8]);
            bytes.extend(body);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        };
        let mut verdict = code.to_ne_bytes().to_vec();
        verdict.extend([0; 16]);
        verdict.extend((4 + words.len() as u16 + 1).to_ne_bytes());
        verdict.extend(1u16.to_ne_bytes());
        verdict.extend(words.as_bytes());
        verdict.push(0);
        [
            message(44, 0, &[5; 20]),
            message(ERROR, WORDS | CAPPED, &verdict),
        ]
        .concat()
    }

    #[test]
    fn answers_end_with_a_verdict_in_words() {
        assert_eq!(verdict(&answer(0, "")), Ok(vec![vec![5; 20]]));
        assert_eq!(
            verdict(&answer(-22, "No such thing")),
            Err((Errno::INVAL, "No such thing".to_owned()))
        );
        assert_eq!(verdict(&[]), Ok(Vec::new()));
    }

    #[test]
    fn cut_answers_are_no_reason_to_panic() {
        let whole = answer(-22, "No such thing");
        for end in 0..whole.len() {
            let _ = verdict(&whole[..end]);
            let mut bent = whole.clone();
            bent[end] ^= 0xff;
            let _ = verdict(&bent);
        }
    }
}
