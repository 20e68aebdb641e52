//! What a document is, by `КНД` and `Функция`.
//!
//! Sources: orders of ФНС ММВ-7-6/93@ (invoices, 1115101 and 1115108), ММВ-7-15/155@ and ММВ-7-15/189@ (1115125 to 1115128),
//! ММВ-7-15/820@, ЕД-7-26/736@, ЕД-7-26/970@ (1115127, 1115128, 1115131, 1115132).

use busbar_sdk::xml::Tree;
use busbar_sdk::{Rejection, rejection};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Structure {
    /// `СвСчФакт`.
    Invoice,
    /// `СвКСчФ`.
    Correction,
    /// `ИдИнфПрод`.
    Buyer,
}

const OLD_INVOICE: &str = "1115101";
const CODES: [(&str, Structure); 8] = [
    (OLD_INVOICE, Structure::Invoice),
    ("1115108", Structure::Correction),
    ("1115125", Structure::Invoice),
    ("1115126", Structure::Buyer),
    ("1115127", Structure::Correction),
    ("1115128", Structure::Buyer),
    ("1115131", Structure::Invoice),
    ("1115132", Structure::Buyer),
];
const OF_INVOICE: [(&str, &str); 5] = [
    ("СЧФ", "tax-invoice"),
    ("СЧФДОП", "transfer-document"),
    ("ДОП", "transfer-document"),
    ("СвРК", "commission-report"),
    ("СвЗК", "commission-report"),
];
const OF_CORRECTION: [&str; 5] = ["КСЧФ", "КСЧФДИС", "ДИС", "СвРК", "СвЗК"];

/// A code of another structure is a mistake of who wrote it, and told.
///
/// # Errors
/// `unknown-document` for a `КНД` that is in no order.
pub fn must_fit(head: &Tree, structure: Option<Structure>, warn: &mut dyn FnMut(&str)) -> Result<(), Rejection> {
    let code = head.attribute("КНД").map(str::trim).unwrap_or_default();
    let shown: String = code.chars().take(20).collect();
    let Some((_, of_code)) = CODES.iter().find(|(known, _)| *known == code) else {
        return Err(refused(format!("КНД `{shown}` is of no document that is known here"), head));
    };
    if structure.is_some_and(|structure| structure != *of_code) {
        warn(&format!("{}: КНД {shown} is of another structure than the file has", head.place));
    }
    Ok(())
}

/// # Errors
/// `unknown-document` for a `Функция` that is in no order, or absent from a document that has several.
pub fn of_invoice(head: &Tree) -> Result<&'static str, Rejection> {
    let function = head.attribute("Функция").map(str::trim).unwrap_or_default();
    match OF_INVOICE.iter().find(|(known, _)| *known == function) {
        // An old invoice is nothing else.
        None if function.is_empty() && head.attribute("КНД") == Some(OLD_INVOICE) => Ok("tax-invoice"),
        Some((_, kind)) if head.attribute("КНД") != Some(OLD_INVOICE) => Ok(kind),
        Some(("СЧФ", kind)) => Ok(kind),
        _ => Err(unknown_function(function, head)),
    }
}

/// # Errors
/// The same. Old corrections have no function.
pub fn of_correction(head: &Tree) -> Result<&'static str, Rejection> {
    let function = head.attribute("Функция").map(str::trim).unwrap_or_default();
    match function.is_empty() || OF_CORRECTION.contains(&function) {
        true => Ok("correction-document"),
        false => Err(unknown_function(function, head)),
    }
}

fn unknown_function(function: &str, head: &Tree) -> Rejection {
    let function: String = function.chars().take(20).collect();
    refused(format!("Функция `{function}` is of no document that is known here"), head)
}

fn refused(reason: String, head: &Tree) -> Rejection {
    rejection("unknown-document", reason, &*head.place)
}
