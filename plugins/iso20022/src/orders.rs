//! Payment orders -> one pain.001.001.09. Pure: messages come in, bytes go out.
//!
//! Source: ISO 20022, CustomerCreditTransferInitiationV09; for roubles the elements that Russian banks publish: the number of
//! the order as `EndToEndId`, INN as `TXID`, BIC as a member of `RUCBC`, the document's date in `RfrdDocInf`.

use std::collections::BTreeMap;

use busbar_sdk::encoding::Encoding;
use busbar_sdk::orders::{self, Order, Party};
use busbar_sdk::xml::XmlWriter;
use busbar_sdk::{Failure, Message, ids, rejected};

use crate::amount::{self, Amount};
use crate::settings::Settings;

#[cfg(test)]
mod tests;

const NAMESPACE: &str = "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09";
/// Characters that the schema allows in a number, a name and a piece of remittance information.
const ID_CHARS: usize = 35;
const NAME_CHARS: usize = 140;

struct Checked {
    order: Order,
    amount: Amount,
    /// Of this very order at the utility, in the sender's numbering.
    instruction: String,
}

/// In 10^-5: with five digits after the point, the schema has thirteen before it in an amount and in a sum of amounts.
const UNITS_MAX: i128 = 10_i128.pow(18);

/// Everything a file needs, checked.
pub struct File {
    id: String,
    created_on: String,
    /// By payer's account, bank and day of execution: one `PmtInf` for each.
    groups: BTreeMap<(String, String, String), Vec<Checked>>,
    pub warnings: Vec<String>,
}

/// Checks the messages and puts them together.
///
/// # Errors
/// A rejection at `/<index>…` names the message at fault.
pub fn file(messages: &[Message]) -> Result<File, Failure> {
    let mut groups: BTreeMap<_, Vec<Checked>> = BTreeMap::new();
    let mut warnings = Vec::new();
    let mut created_on = String::new();
    let mut sum = 0;
    for (index, message) in messages.iter().enumerate() {
        let checked = checked(index, message)?;
        let order = &checked.order;
        sum += checked.amount.units;
        if sum >= UNITS_MAX {
            let reason = "the orders of a file make less than 10,000,000,000,000 together";
            return Err(rejected("bad-amount", reason, format!("/{index}/data/amount")));
        }
        for (side, party) in order.sides() {
            if party.name.as_ref().is_some_and(|name| name.chars().count() > NAME_CHARS) {
                warnings
                    .push(format!("order {}: the name of the {side} is cut to {NAME_CHARS} characters", order.number));
            }
        }
        if created_on < order.issued_on {
            created_on.clone_from(&order.issued_on);
        }
        let day = order.execute_on.as_ref().unwrap_or(&order.issued_on).clone();
        groups.entry((order.payer.account.clone(), order.payer.bic.clone(), day)).or_default().push(checked);
    }
    if groups.is_empty() {
        return Err(rejected("no-messages", "there is nothing to write", ""));
    }
    Ok(File { id: orders::file_id(messages), created_on, groups, warnings })
}

impl File {
    pub fn name(&self, settings: &Settings) -> String {
        format!("{}{}.xml", settings.file_prefix, self.id)
    }

    /// Writes the whole file in chunks.
    pub fn write(&self, settings: &Settings, output: impl FnMut(&[u8])) {
        let mut xml = XmlWriter::new(Encoding::Utf8, output);
        xml.start("Document", &[("xmlns", NAMESPACE)]);
        xml.start("CstmrCdtTrfInitn", &[]);
        xml.start("GrpHdr", &[]);
        xml.leaf("MsgId", &[], &self.id);
        // The day of the newest order: the same orders make the same file, whenever it is written.
        xml.leaf("CreDtTm", &[], &format!("{}T00:00:00", self.created_on));
        totals(&mut xml, self.groups.values().flatten());
        if let Some(first) = self.groups.values().flatten().next() {
            party(&mut xml, "InitgPty", &first.order.payer);
        }
        xml.end();
        for (number, ((_, _, day), orders)) in (1_u32..).zip(&self.groups) {
            self.group(&mut xml, settings, number, day, orders);
        }
        xml.finish();
    }

    fn group(
        &self,
        xml: &mut XmlWriter<impl FnMut(&[u8])>,
        settings: &Settings,
        number: u32,
        day: &str,
        orders: &[Checked],
    ) {
        let Some(first) = orders.first() else { return };
        xml.start("PmtInf", &[]);
        let id: String = self.id.chars().take(24).collect();
        xml.leaf("PmtInfId", &[], &format!("{id}-{number}"));
        xml.leaf("PmtMtd", &[], "TRF");
        // Each order is booked by itself.
        xml.leaf("BtchBookg", &[], "false");
        totals(xml, orders.iter());
        xml.start("ReqdExctnDt", &[]);
        xml.leaf("Dt", &[], day);
        xml.end();
        party(xml, "Dbtr", &first.order.payer);
        account(xml, "DbtrAcct", &first.order.payer.account);
        agent(xml, "DbtrAgt", &first.order.payer.bic);
        if let Some(correspondent) = &first.order.payer.correspondent_account {
            account(xml, "DbtrAgtAcct", correspondent);
        }
        for order in orders {
            transfer(xml, settings, order);
        }
        xml.end();
    }
}

fn transfer(xml: &mut XmlWriter<impl FnMut(&[u8])>, settings: &Settings, checked: &Checked) {
    let order = &checked.order;
    xml.start("CdtTrfTxInf", &[]);
    xml.start("PmtId", &[]);
    xml.leaf("InstrId", &[], &checked.instruction);
    xml.leaf("EndToEndId", &[], &order.number);
    xml.end();
    if let (Some(element), Some(priority)) = (&settings.priority_element, &order.priority) {
        xml.start("PmtTpInf", &[]);
        xml.start(element, &[]);
        xml.leaf("Prtry", &[], priority);
        xml.end();
        xml.end();
    }
    xml.start("Amt", &[]);
    xml.leaf("InstdAmt", &[("Ccy", &checked.amount.currency)], &amount::format(checked.amount.units));
    xml.end();
    agent(xml, "CdtrAgt", &order.payee.bic);
    if let Some(correspondent) = &order.payee.correspondent_account {
        account(xml, "CdtrAgtAcct", correspondent);
    }
    party(xml, "Cdtr", &order.payee);
    account(xml, "CdtrAcct", &order.payee.account);
    xml.start("RmtInf", &[]);
    let purpose: Vec<char> = order.purpose.chars().collect();
    for piece in purpose.chunks(NAME_CHARS) {
        xml.leaf("Ustrd", &[], &piece.iter().collect::<String>());
    }
    xml.start("Strd", &[]);
    xml.start("RfrdDocInf", &[]);
    xml.leaf("Nb", &[], &order.number);
    xml.leaf("RltdDt", &[], &order.issued_on);
    xml.end();
    // `0` says that there is none.
    if let Some(code) = order.payment_code.as_ref().filter(|code| *code != "0") {
        xml.start("CdtrRefInf", &[]);
        xml.leaf("Ref", &[], code);
        xml.end();
    }
    xml.end();
    xml.end();
    xml.end();
}

fn totals<'a>(xml: &mut XmlWriter<impl FnMut(&[u8])>, orders: impl Iterator<Item = &'a Checked>) {
    let (count, units) = orders.fold((0_u64, 0), |(count, units), order| (count + 1, units + order.amount.units));
    xml.leaf("NbOfTxs", &[], &count.to_string());
    xml.leaf("CtrlSum", &[], &amount::format(units));
}

fn party(xml: &mut XmlWriter<impl FnMut(&[u8])>, element: &str, party: &Party) {
    xml.start(element, &[]);
    if let Some(name) = &party.name {
        xml.leaf("Nm", &[], &name.chars().take(NAME_CHARS).collect::<String>());
    }
    if let Some(tax_id) = &party.tax_id {
        // An INN of a person has twelve digits, that of an organisation ten.
        let kind = if tax_id.len() == 12 { "PrvtId" } else { "OrgId" };
        xml.start("Id", &[]);
        xml.start(kind, &[]);
        xml.start("Othr", &[]);
        xml.leaf("Id", &[], tax_id);
        xml.start("SchmeNm", &[]);
        xml.leaf("Cd", &[], "TXID");
        for _ in 0..4 {
            xml.end();
        }
    }
    xml.end();
}

fn account(xml: &mut XmlWriter<impl FnMut(&[u8])>, element: &str, number: &str) {
    xml.start(element, &[]);
    xml.start("Id", &[]);
    if is_iban(number) {
        xml.leaf("IBAN", &[], number);
    } else {
        xml.start("Othr", &[]);
        xml.leaf("Id", &[], number);
        xml.end();
    }
    xml.end();
    xml.end();
}

fn agent(xml: &mut XmlWriter<impl FnMut(&[u8])>, element: &str, bic: &str) {
    xml.start(element, &[]);
    xml.start("FinInstnId", &[]);
    if is_swift(bic) {
        xml.leaf("BICFI", &[], bic);
    } else {
        xml.start("ClrSysMmbId", &[]);
        xml.start("ClrSysId", &[]);
        xml.leaf("Cd", &[], "RUCBC");
        xml.end();
        xml.leaf("MmbId", &[], bic);
        xml.end();
    }
    xml.end();
    xml.end();
}

fn checked(index: usize, message: &Message) -> Result<Checked, Failure> {
    let wrong = |code: &str, reason: String, field: &str| Err(rejected(code, reason, format!("/{index}/data{field}")));
    let order = Order::of(index, message)?;
    let Some(amount) = Amount::parse(&order.amount.value, &order.amount.currency).filter(|amount| amount.units > 0)
    else {
        return wrong("bad-amount", format!("`{}` cannot be paid", order.amount.value), "/amount");
    };
    if order.number.chars().count() > ID_CHARS {
        return wrong("field-too-long", format!("a number has at most {ID_CHARS} characters here"), "/number");
    }
    for (side, party) in order.sides() {
        if !party.has_russian_bic() && !is_swift(&party.bic) {
            let reason = format!("`{}` is neither a BIC of nine digits nor one of SWIFT", party.bic);
            return wrong("bad-bic", reason, &format!("/{side}/bic"));
        }
    }
    let instruction = ids::derived(&[&message.source, &message.id]);
    Ok(Checked { order, amount, instruction })
}

// Patterns of the schema: IBAN2007Identifier, BICFIDec2014Identifier.
fn is_iban(text: &str) -> bool {
    let bytes = text.as_bytes();
    (5..=34).contains(&bytes.len())
        && bytes.iter().take(2).all(u8::is_ascii_uppercase)
        && bytes.iter().skip(2).take(2).all(u8::is_ascii_digit)
        && bytes.iter().skip(4).all(u8::is_ascii_alphanumeric)
}

fn is_swift(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_code = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    matches!(bytes.len(), 8 | 11)
        && bytes.iter().all(is_code)
        && bytes.iter().skip(4).take(2).all(u8::is_ascii_uppercase)
}
