//! A small part of a document held in memory, for formats whose records refer to each other.

use super::{Element, Event, Xml};
use crate::Rejection;

/// What an element and an attribute take beside their texts.
const ELEMENT_BYTES: usize = 400;
const ATTRIBUTE_BYTES: usize = 60;

/// An element with everything in it.
#[derive(Clone, Debug)]
pub struct Tree {
    pub element: Element,
    /// Without blanks around it.
    pub text: String,
    pub children: Vec<Tree>,
    /// As [`Xml::place`] names it.
    pub place: String,
}

impl Tree {
    /// The open element and all in it. `left` counts down the bytes of memory that may still be held, roughly.
    ///
    /// # Errors
    /// `xml-limit` when `left` is used up; see [`crate::xml`].
    pub fn read<R: FnMut(u32) -> Vec<u8>>(
        xml: &mut Xml<R>,
        element: Element,
        left: &mut usize,
    ) -> Result<Self, Rejection> {
        let attributes: usize =
            element.attributes().map(|(name, value)| ATTRIBUTE_BYTES + name.len() + value.len()).sum();
        spend(xml, left, ELEMENT_BYTES + element.name.len() + attributes)?;
        let mut tree = Self { element, text: String::new(), children: Vec::new(), place: xml.place() };
        loop {
            match xml.next_event()? {
                Event::Start(element) => tree.children.push(Self::read(xml, element, left)?),
                Event::Text(text) => {
                    spend(xml, left, text.len())?;
                    tree.text.push_str(text.trim());
                }
                Event::End | Event::Eof => return Ok(tree),
            }
        }
    }

    pub fn name(&self) -> &str {
        &self.element.name
    }

    /// The attribute without blanks around it; nothing for an empty one.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.element.attribute(name).map(str::trim).filter(|text| !text.is_empty())
    }

    /// The children of this name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Tree> {
        self.children.iter().filter(move |child| child.name() == name)
    }

    /// The first element on this path below, e.g. `num/number`.
    pub fn at(&self, path: &str) -> Option<&Tree> {
        path.split('/').try_fold(self, |tree, name| tree.children.iter().find(|child| child.name() == name))
    }

    /// The text of the first element on this path; nothing for an empty one.
    pub fn text_at(&self, path: &str) -> Option<&str> {
        self.at(path).map(|tree| tree.text.as_str()).filter(|text| !text.is_empty())
    }
}

fn spend<R: FnMut(u32) -> Vec<u8>>(xml: &Xml<R>, left: &mut usize, bytes: usize) -> Result<(), Rejection> {
    *left = left.checked_sub(bytes).ok_or_else(|| xml.rejection("xml-limit", "more than such a document has"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_places() {
        let mut xml = Xml::of_bytes(b"<a>\n<b x=' 1 '><c>t</c><c/></b>\n<b><c>u</c></b></a>");
        let root = xml.root().unwrap();
        let tree = Tree::read(&mut xml, root, &mut 10_000).unwrap();
        xml.finish().unwrap();
        assert_eq!((tree.text_at("b/c"), tree.at("b").unwrap().attribute("x")), (Some("t"), Some("1")));
        assert_eq!((tree.all("b").count(), tree.at("b/d").is_none(), tree.text_at("b")), (2, true, None));
        assert_eq!(tree.all("b").nth(1).unwrap().children[0].place, "line 3, element a/b/c");
    }

    #[test]
    fn no_more_than_allowed() {
        for inner in ["<b/>".repeat(100), format!("<b c='{}'/>", "x".repeat(20_000)), "x".repeat(20_000)] {
            let text = format!("<a>{inner}</a>");
            let mut xml = Xml::of_bytes(text.as_bytes());
            let root = xml.root().unwrap();
            assert_eq!(Tree::read(&mut xml, root, &mut 10_000).unwrap_err().code, "xml-limit");
        }
    }
}
