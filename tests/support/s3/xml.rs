//! Writing and reading the XML of S3's answers and requests.

use bytes::Bytes;
use quick_xml::escape::escape;
use quick_xml::events::Event;

use super::answer::{Code, Refusal};

/// The namespace of every answer.
const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// A document being written.
#[derive(Debug)]
pub struct Xml(String);

impl Xml {
    /// A document of one root element; an `Error` has no namespace.
    pub fn document(root: &str, fill: impl FnOnce(&mut Self)) -> Self {
        let mut xml = Self(String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"));
        match root {
            "Error" => xml.0.push_str("<Error>"),
            root => xml.0.push_str(&format!("<{root} xmlns=\"{NAMESPACE}\">")),
        }
        fill(&mut xml);
        xml.0.push_str(&format!("</{root}>"));
        xml
    }

    /// An element with elements inside.
    pub fn element(&mut self, name: &str, fill: impl FnOnce(&mut Self)) {
        self.0.push_str(&format!("<{name}>"));
        fill(self);
        self.0.push_str(&format!("</{name}>"));
    }

    /// An element with text inside.
    pub fn text(&mut self, name: &str, text: &str) {
        self.0.push_str(&format!("<{name}>{}</{name}>", escape(text)));
    }

    /// The bytes of the document.
    pub fn finish(self) -> Bytes {
        Bytes::from(self.0)
    }
}

/// An element that was read: its name without prefix, its text, its children.
#[derive(Debug, Default)]
pub(super) struct Element {
    /// The local name.
    pub name: String,
    /// The text directly inside, references resolved.
    pub text: String,
    /// The elements inside, in order.
    pub children: Vec<Element>,
}

impl Element {
    /// Reads a document.
    ///
    /// # Errors
    /// `MalformedXML` if it is not well formed or its root is not named `root`.
    pub(super) fn read(body: &[u8], root: &str) -> Result<Self, Refusal> {
        let malformed = || Refusal::from(Code::MalformedXML);
        let mut reader = quick_xml::Reader::from_reader(body);
        let mut stack = vec![Self::default()];
        loop {
            let event = reader.read_event().map_err(|_| malformed())?;
            match event {
                Event::Start(start) => stack.push(Self { name: local(start.local_name().as_ref()), ..Self::default() }),
                Event::Empty(start) => {
                    let element = Self { name: local(start.local_name().as_ref()), ..Self::default() };
                    stack.last_mut().ok_or_else(malformed)?.children.push(element);
                }
                Event::End(_) => {
                    let done = stack.pop().ok_or_else(malformed)?;
                    stack.last_mut().ok_or_else(malformed)?.children.push(done);
                }
                Event::Text(text) => {
                    let text = text.decode().map_err(|_| malformed())?;
                    stack.last_mut().ok_or_else(malformed)?.text.push_str(&text);
                }
                Event::GeneralRef(reference) => {
                    let name = reference.decode().map_err(|_| malformed())?;
                    let text = quick_xml::escape::unescape(&format!("&{name};")).map_err(|_| malformed())?.into_owned();
                    stack.last_mut().ok_or_else(malformed)?.text.push_str(&text);
                }
                Event::Eof => break,
                _ => {}
            }
        }
        let document = stack.pop().filter(|_| stack.is_empty()).ok_or_else(malformed)?;
        document.children.into_iter().find(|child| child.name == root).ok_or_else(malformed)
    }

    /// The text of the first child of that name.
    pub(super) fn child(&self, name: &str) -> Option<&str> {
        self.children.iter().find(|child| child.name == name).map(|child| child.text.trim())
    }
}

fn local(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}
