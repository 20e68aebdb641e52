use crate::encoding::Encoding;
use crate::output;

const FLUSH_BYTES: usize = 64 * 1024;

/// Writes a document, one element a line. `write` gets it in pieces.
///
/// ```
/// let mut file = Vec::new();
/// let mut xml = busbar_sdk::xml::XmlWriter::new(busbar_sdk::encoding::Encoding::Utf8, |bytes| file.extend_from_slice(bytes));
/// xml.start("message", &[("class", "80020")]);
/// xml.leaf("name", &[], "ПС <1>");
/// xml.finish();
/// let text = String::from_utf8(file).unwrap();
/// assert!(text.ends_with("<message class=\"80020\">\n  <name>ПС &lt;1&gt;</name>\n</message>\n"));
/// ```
pub struct XmlWriter<W: FnMut(&[u8])> {
    write: W,
    encoding: Encoding,
    buffer: String,
    open: Vec<String>,
}

impl XmlWriter<fn(&[u8])> {
    /// To the file being encoded.
    pub fn of_output(encoding: Encoding) -> Self {
        Self::new(encoding, output::write)
    }
}

impl<W: FnMut(&[u8])> XmlWriter<W> {
    /// Begins with the declaration.
    pub fn new(encoding: Encoding, write: W) -> Self {
        let buffer = format!("<?xml version=\"1.0\" encoding=\"{}\"?>\n", encoding.name());
        Self { write, encoding, buffer, open: Vec::new() }
    }

    /// Opens an element. Names are written as they are.
    pub fn start(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.tag(name, attributes);
        self.buffer.push_str(">\n");
        self.open.push(name.to_owned());
    }

    /// An element with only text.
    pub fn leaf(&mut self, name: &str, attributes: &[(&str, &str)], text: &str) {
        self.tag(name, attributes);
        if text.is_empty() {
            self.buffer.push_str("/>\n");
            return;
        }
        self.buffer.push('>');
        escape(text, &mut self.buffer);
        self.close(name);
    }

    /// Closes the element opened last.
    pub fn end(&mut self) {
        if let Some(name) = self.open.pop() {
            self.indent();
            self.close(&name);
        }
    }

    /// Closes everything and writes what is left.
    pub fn finish(mut self) {
        while !self.open.is_empty() {
            self.end();
        }
        self.flush();
    }

    fn tag(&mut self, name: &str, attributes: &[(&str, &str)]) {
        if self.buffer.len() >= FLUSH_BYTES {
            self.flush();
        }
        self.indent();
        self.buffer.push('<');
        self.buffer.push_str(name);
        for (name, value) in attributes {
            self.buffer.push(' ');
            self.buffer.push_str(name);
            self.buffer.push_str("=\"");
            escape(value, &mut self.buffer);
            self.buffer.push('"');
        }
    }

    fn close(&mut self, name: &str) {
        self.buffer.push_str("</");
        self.buffer.push_str(name);
        self.buffer.push_str(">\n");
    }

    fn indent(&mut self) {
        for _ in &self.open {
            self.buffer.push_str("  ");
        }
    }

    fn flush(&mut self) {
        (self.write)(&self.encoding.encode(&self.buffer));
        self.buffer.clear();
    }
}

/// Text and attribute values alike; characters that no XML may have become a blank.
fn escape(text: &str, into: &mut String) {
    for c in text.chars() {
        match c {
            '<' => into.push_str("&lt;"),
            '>' => into.push_str("&gt;"),
            '&' => into.push_str("&amp;"),
            '"' => into.push_str("&quot;"),
            '\t' | '\n' | '\r' => into.push_str(&format!("&#{};", u32::from(c))),
            c if super::is_character(c) => into.push(c),
            _ => into.push(' '),
        }
    }
}
