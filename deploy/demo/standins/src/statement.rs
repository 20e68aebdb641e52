//! A bank's stand-in: writes a statement as 1CClientBankExchange 1.03 in windows-1251 with CRLF, the way
//! client-bank programs export it (format: "Стандарт обмена 1С:Предприятие – Клиент банка").

use crate::money::decimal;
use std::fmt::Write;

/// One day of one account of the utility.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The utility's account, 20 digits.
    pub account: String,
    pub holder: String,
    pub holder_inn: String,
    pub bank: String,
    pub bank_bic: String,
    /// `ДД.ММ.ГГГГ`.
    pub day: String,
    /// Kopecks.
    pub opening: i64,
    pub documents: Vec<Document>,
    /// Kopecks by which the closing balance is wrong; 0 in an honest statement.
    pub closing_error: i64,
}

/// One payment document. The other party is the payer of an incoming one, the payee of an outgoing one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    pub number: String,
    /// Kopecks.
    pub amount: i64,
    pub incoming: bool,
    pub party: String,
    /// Empty for a person without one.
    pub party_inn: String,
    /// 20 digits.
    pub party_account: String,
    pub party_bank: String,
    pub party_bic: String,
    /// `Код`, often empty.
    pub code: String,
    pub purpose: String,
}

/// Control totals of a statement in kopecks. A document printed twice moved its money once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    pub received: i64,
    pub spent: i64,
    pub closing: i64,
}

impl Statement {
    pub fn totals(&self) -> Totals {
        let mut totals = Totals { received: 0, spent: 0, closing: 0 };
        for document in self.distinct() {
            if document.incoming {
                totals.received += document.amount;
            } else {
                totals.spent += document.amount;
            }
        }
        totals.closing = self.opening + totals.received - totals.spent + self.closing_error;
        totals
    }

    /// The documents without repeats, in order.
    pub fn distinct(&self) -> impl Iterator<Item = &Document> {
        let numbered = self.documents.iter().enumerate();
        let first =
            |place: usize, document: &Document| !self.documents.iter().take(place).any(|earlier| earlier == document);
        numbered.filter(move |(place, document)| first(*place, document)).map(|(_, document)| document)
    }

    /// The file's bytes.
    pub fn render(&self) -> Vec<u8> {
        let mut text = Text::default();
        let (day, totals) = (self.day.as_str(), self.totals());
        text.line("1CClientBankExchange");
        text.field("ВерсияФормата", "1.03");
        text.field("Кодировка", "Windows");
        text.field("Отправитель", "Клиент-банк «Пристань»");
        text.field("Получатель", "");
        text.field("ДатаСоздания", day);
        text.field("ВремяСоздания", "23:55:00");
        text.field("ДатаНачала", day);
        text.field("ДатаКонца", day);
        text.field("РасчСчет", &self.account);
        text.line("СекцияРасчСчет");
        text.field("ДатаНачала", day);
        text.field("ДатаКонца", day);
        text.field("РасчСчет", &self.account);
        text.field("НачальныйОстаток", &decimal(self.opening));
        text.field("ВсегоПоступило", &decimal(totals.received));
        text.field("ВсегоСписано", &decimal(totals.spent));
        text.field("КонечныйОстаток", &decimal(totals.closing));
        text.line("КонецРасчСчет");
        for document in &self.documents {
            self.document(&mut text, document);
        }
        text.line("КонецФайла");
        let (bytes, _, _) = encoding_rs::WINDOWS_1251.encode(&text.0);
        bytes.into_owned()
    }

    fn document(&self, text: &mut Text, document: &Document) {
        let ours = Side {
            account: &self.account,
            name: &self.holder,
            inn: &self.holder_inn,
            bank: &self.bank,
            bic: &self.bank_bic,
        };
        let theirs = Side {
            account: &document.party_account,
            name: &document.party,
            inn: &document.party_inn,
            bank: &document.party_bank,
            bic: &document.party_bic,
        };
        let (payer, payee) = if document.incoming { (theirs, ours) } else { (ours, theirs) };
        let (spent, received) = if document.incoming { ("", &*self.day) } else { (&*self.day, "") };
        text.field("СекцияДокумент", "Платежное поручение");
        text.field("Номер", &document.number);
        text.field("Дата", &self.day);
        text.field("Сумма", &decimal(document.amount));
        text.side("Плательщик", &payer);
        text.field("ДатаСписано", spent);
        text.side("Получатель", &payee);
        text.field("ДатаПоступило", received);
        text.field("ВидОплаты", "01");
        text.field("Код", &document.code);
        text.field("Очередность", "5");
        text.field("НазначениеПлатежа", &document.purpose);
        text.line("КонецДокумента");
    }
}

struct Side<'a> {
    account: &'a str,
    name: &'a str,
    inn: &'a str,
    bank: &'a str,
    bic: &'a str,
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push_str("\r\n");
    }

    fn field(&mut self, name: &str, value: &str) {
        // Writing to a String cannot fail.
        let _ = write!(self.0, "{name}={value}\r\n");
    }

    fn side(&mut self, prefix: &str, side: &Side<'_>) {
        self.field(&format!("{prefix}Счет"), side.account);
        let inn = if side.inn.is_empty() { String::new() } else { format!("ИНН {} ", side.inn) };
        self.field(prefix, &format!("{inn}{}", side.name));
        self.field(&format!("{prefix}ИНН"), side.inn);
        self.field(&format!("{prefix}1"), side.name);
        self.field(&format!("{prefix}РасчСчет"), side.account);
        self.field(&format!("{prefix}Банк1"), side.bank);
        self.field(&format!("{prefix}БИК"), side.bic);
    }
}
