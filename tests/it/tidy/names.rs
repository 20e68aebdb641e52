//! One name, one thing.

use std::collections::BTreeMap;
use syn::visit::{self, Visit};

/// Types of the host that share their name. Whoever reads a name must not have to ask which one is meant. The simulation is
/// apart: its hub, its store and what else it plays are called what they stand for.
pub fn shared(sources: &BTreeMap<String, String>) -> Vec<String> {
    let mut places = BTreeMap::<String, Vec<String>>::new();
    for (path, text) in sources.iter().filter(|(path, _)| !path.contains("/simulation")) {
        let mut found = Types(Vec::new());
        if let Ok(parsed) = syn::parse_file(text) {
            found.visit_file(&parsed);
        }
        for name in found.0 {
            let line = name.span().start().line;
            places.entry(name.to_string()).or_default().push(format!("{path}:{line}"));
        }
    }
    let shared = places.into_iter().filter(|(_, places)| places.len() > 1);
    shared.map(|(name, places)| format!("`{name}` has several meanings: {}", places.join(", "))).collect()
}

/// Names of structs, enums and traits, but for those of tests.
struct Types(Vec<syn::Ident>);

impl Visit<'_> for Types {
    fn visit_item_mod(&mut self, item: &syn::ItemMod) {
        let is_test = |attribute: &syn::Attribute| match &attribute.meta {
            syn::Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
            _ => false,
        };
        if !item.attrs.iter().any(is_test) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_struct(&mut self, item: &syn::ItemStruct) {
        self.0.push(item.ident.clone());
    }

    fn visit_item_enum(&mut self, item: &syn::ItemEnum) {
        self.0.push(item.ident.clone());
    }

    fn visit_item_trait(&mut self, item: &syn::ItemTrait) {
        self.0.push(item.ident.clone());
        visit::visit_item_trait(self, item);
    }
}

#[test]
fn a_name_of_two_is_seen() {
    let of = |other: &str| {
        let sources = [("host/core/src/a.rs", "pub struct Waiting;"), ("host/server/src/hub/b.rs", other)];
        shared(&sources.map(|(path, text)| (path.to_string(), text.to_string())).into())
    };
    for bad in ["enum Waiting { A }", "struct Waiting(u8);", "trait Waiting {}", "fn f() { struct Waiting; }"] {
        assert_eq!(of(bad).len(), 1, "{bad}");
    }
    for good in ["struct Other;", "use a::Waiting;", "enum E { Waiting }", "#[cfg(test)] mod tests { struct Waiting; }"]
    {
        assert_eq!(of(good), Vec::<String>::new(), "{good}");
    }
    let played = [("host/core/src/a.rs", "struct Hub;"), ("host/core/src/simulation/hub.rs", "struct Hub;")];
    assert!(shared(&played.map(|(path, text)| (path.to_string(), text.to_string())).into()).is_empty());
}
