//! Payment orders -> one file for the bank's client program. Pure: messages come in, bytes go out.
//!
//! Source: 1C, «Стандарт обмена с системами Клиент банка» 1.03, columns «из 1С»; Bank of Russia 762-П, annexes 1, 2 and 11,
//! for what a bank takes.

use std::collections::BTreeSet;

use busbar_sdk::encoding::Encoding;
use busbar_sdk::orders::{self, Order, Party};
use busbar_sdk::{Failure, Message, dates, money, rejected};

use crate::settings::Settings;

#[cfg(test)]
mod tests;

/// Characters that the rules of transfers give a name and a purpose.
const NAME_CHARS: usize = 160;
const PURPOSE_CHARS: usize = 210;

/// Everything a file needs, checked.
pub struct File {
    id: String,
    orders: Vec<Checked>,
    pub warnings: Vec<String>,
}

struct Checked {
    order: Order,
    minor: i128,
    payer_name: String,
    payee_name: String,
    purpose: String,
}

/// Checks the messages and puts them together.
///
/// # Errors
/// A rejection at `/<index>…` names the message at fault; `bad-config`, `no-messages` are of the whole file.
pub fn file(settings: &Settings, messages: &[Message]) -> Result<File, Failure> {
    for (name, text) in [("sender", &settings.sender), ("recipient", &settings.recipient)] {
        if let Some(sign) = foreign(text) {
            return Err(rejected("bad-config", format!("windows-1251 has no `{sign}`"), format!("config, {name}")));
        }
    }
    let mut file = File { id: orders::file_id(messages), orders: Vec::new(), warnings: Vec::new() };
    let mut known = BTreeSet::new();
    for (index, message) in messages.iter().enumerate() {
        let checked = checked(settings, index, message, &mut file.warnings)?;
        let order = &checked.order;
        // To the bank they are one order sent twice, or one of them a mistake.
        if !known.insert((order.payer.account.clone(), order.issued_on.clone(), order.number.clone())) {
            let reason = "an order of this account, day and number is in the file already";
            return Err(rejected("repeated-order", reason, format!("/{index}/data/number")));
        }
        file.orders.push(checked);
    }
    match file.orders.is_empty() {
        true => Err(rejected("no-messages", "there is nothing to write", "")),
        false => Ok(file),
    }
}

impl File {
    pub fn name(&self, settings: &Settings) -> String {
        format!("{}{}.txt", settings.file_prefix, self.id)
    }

    /// Writes the whole file, an order at a time.
    pub fn write(&self, settings: &Settings, mut output: impl FnMut(&[u8])) {
        let mut write = |lines: Lines| output(&Encoding::Windows1251.encode(&lines.0));
        write(self.head(settings));
        for order in &self.orders {
            write(order.lines());
        }
        write(Lines("КонецФайла\r\n".to_owned()));
    }

    fn head(&self, settings: &Settings) -> Lines {
        let days: BTreeSet<&str> = self.orders.iter().map(|checked| checked.order.issued_on.as_str()).collect();
        let accounts: BTreeSet<&str> = self.orders.iter().map(|checked| checked.order.payer.account.as_str()).collect();
        let first = days.first().copied().unwrap_or_default();
        let last = days.last().copied().unwrap_or_default();
        let mut lines = Lines("1CClientBankExchange\r\n".to_owned());
        lines.field("ВерсияФормата", "1.03");
        lines.field("Кодировка", "Windows");
        lines.field("Отправитель", &settings.sender);
        lines.field("Получатель", &settings.recipient);
        // The day of the newest order: the same orders make the same file, whenever it is written.
        lines.field("ДатаСоздания", &russian(last));
        lines.field("ВремяСоздания", "00:00:00");
        lines.field("ДатаНачала", &russian(first));
        lines.field("ДатаКонца", &russian(last));
        for account in accounts {
            lines.field("РасчСчет", account);
        }
        lines.field("Документ", "Платежное поручение");
        lines
    }
}

impl Checked {
    fn lines(&self) -> Lines {
        let Order { number, issued_on, payer, payee, priority, payment_code, .. } = &self.order;
        let mut lines = Lines::default();
        lines.field("СекцияДокумент", "Платежное поручение");
        lines.field("Номер", &one_line(number));
        lines.field("Дата", &russian(issued_on));
        lines.field("Сумма", &money::format_minor(self.minor));
        for (side, party, name) in [("Плательщик", payer, &self.payer_name), ("Получатель", payee, &self.payee_name)]
        {
            lines.field(&format!("{side}Счет"), &party.account);
            let tax_id = party.tax_id.as_deref();
            lines.field(side, &tax_id.map_or(name.clone(), |tax_id| format!("ИНН {tax_id} {name}")));
            lines.optional(&format!("{side}ИНН"), tax_id);
            lines.optional(&format!("{side}КПП"), party.tax_registration_code.as_deref());
            lines.field(&format!("{side}1"), name);
            lines.field(&format!("{side}РасчСчет"), &party.account);
            lines.field(&format!("{side}БИК"), &party.bic);
            lines.optional(&format!("{side}Корсчет"), party.correspondent_account.as_deref());
        }
        // The code of a payment order in the rules of transfers.
        lines.field("ВидОплаты", "01");
        lines.optional("Очередность", priority.as_deref());
        lines.optional("Код", payment_code.as_deref());
        lines.field("НазначениеПлатежа", &self.purpose);
        lines.0.push_str("КонецДокумента\r\n");
        lines
    }
}

#[derive(Default)]
struct Lines(String);

impl Lines {
    fn field(&mut self, key: &str, value: &str) {
        for part in [key, "=", value, "\r\n"] {
            self.0.push_str(part);
        }
    }

    fn optional(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.field(key, value);
        }
    }
}

fn checked(
    settings: &Settings,
    index: usize,
    message: &Message,
    warnings: &mut Vec<String>,
) -> Result<Checked, Failure> {
    let order = Order::of(index, message)?;
    let wrong = |code: &str, reason: String, field: &str| Err(rejected(code, reason, format!("/{index}/data{field}")));
    let Some(minor) = order.amount.minor().filter(|minor| *minor > 0) else {
        return wrong("bad-amount", format!("`{}` cannot be paid", order.amount.value), "/amount");
    };
    for (side, party) in order.sides() {
        let field = |name: &str| format!("/{side}/{name}");
        let accounts =
            [("account", Some(&party.account)), ("correspondentAccount", party.correspondent_account.as_ref())];
        for (name, account) in accounts.into_iter().filter_map(|(name, account)| Some((name, account?))) {
            if account.len() != 20 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
                return wrong("bad-account", "an account has twenty digits here".to_owned(), &field(name));
            }
        }
        if !party.has_russian_bic() {
            return wrong("bad-bic", format!("`{}` is no БИК of nine digits", party.bic), &field("bic"));
        }
        // The file names no currency: it is the account's.
        let currency = settings.currency(&party.account);
        if currency != Some(order.amount.currency.as_str()) {
            let of_account = currency.unwrap_or("no known currency");
            let reason = format!("{} from or to an account in {of_account}", order.amount.currency);
            return wrong("wrong-currency", reason, &field("account"));
        }
        if party.name.as_deref().is_none_or(|name| name.trim().is_empty()) {
            return wrong("missing-field", format!("an order names its {side}"), &field("name"));
        }
    }
    let later = order.execute_on.as_ref().filter(|day| **day > order.issued_on);
    if let Some(day) = later.filter(|_| !settings.ignore_execution_day) {
        return wrong("execution-day", format!("the format has no place for `not before {day}`"), "/executeOn");
    }
    let purpose = one_line(&order.purpose);
    if purpose.chars().count() > PURPOSE_CHARS {
        return wrong("field-too-long", format!("a purpose has at most {PURPOSE_CHARS} characters"), "/purpose");
    }
    let number = one_line(&order.number);
    let mut name = |side: &str, party: &Party| {
        let name = one_line(party.name.as_deref().unwrap_or_default());
        if name.chars().count() > NAME_CHARS {
            warnings.push(format!("order {number}: the name of the {side} is cut to {NAME_CHARS} characters"));
        }
        name.chars().take(NAME_CHARS).collect::<String>()
    };
    let (payer_name, payee_name) = (name("payer", &order.payer), name("payee", &order.payee));
    for (text, field) in
        [(&number, "/number"), (&payer_name, "/payer/name"), (&payee_name, "/payee/name"), (&purpose, "/purpose")]
    {
        if let Some(sign) = foreign(text) {
            let reason = format!("windows-1251 has no `{sign}` (U+{:04X})", u32::from(sign));
            return wrong("bad-character", reason, field);
        }
        if text.is_empty() {
            return wrong("missing-field", "there is nothing but blanks".to_owned(), field);
        }
    }
    Ok(Checked { order, minor, payer_name, payee_name, purpose })
}

/// Line ends and control characters would end the field: all blanks are one blank.
fn one_line(text: &str) -> String {
    let mut line = String::new();
    for word in text.split(|sign: char| sign.is_whitespace() || sign.is_control()).filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    line
}

/// The first character that the file's encoding lacks.
fn foreign(text: &str) -> Option<char> {
    let mut buffer = [0; 4];
    text.chars().find(|sign| Encoding::Windows1251.encode(sign.encode_utf8(&mut buffer)).len() != 1)
}

fn russian(day: &str) -> String {
    dates::parse_iso_date(day).map(dates::russian_date).unwrap_or_default()
}
