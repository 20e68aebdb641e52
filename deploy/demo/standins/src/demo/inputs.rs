//! What the demo feeds the hub, as tables: the files in `inputs/` are written from them, and so are the
//! numbers that must come out. Every name and number is invented.

use busbar_standins::billing::Account;
use busbar_standins::money;
use busbar_standins::statement::{Document, Statement};
use std::collections::BTreeMap;

pub const STATEMENT: &str = "statement-2026-11-20.txt";
pub const BROKEN: &str = "broken.txt";
pub const INVOICE: &str = "invoice.json";

/// The account of the terminal payment and of the invoice.
pub const TERMINAL_ACCOUNT: &str = "1002003007";
pub const TERMINAL_SUM: &str = "640.00";
/// An account that billing does not know.
pub const UNKNOWN_ACCOUNT: &str = "1009999999";

/// Number of the document that the bank printed twice.
const REPEATED: &str = "3107";

/// Number, roubles, payer, customer account, purpose.
type Incoming = (&'static str, &'static str, &'static str, &'static str, &'static str);

/// Incoming with a customer account, in the spellings that banks let through.
#[rustfmt::skip]
const RECOGNISED: [Incoming; 22] = [
    ("3101", "1250.40", "Ветрова Нина Савельевна", "1002003001", "ЛС: 1002003001 за электроэнергию, октябрь 2026"),
    ("3102", "980.00", "Полынин Егор Маркович", "1002003002", "л/с 1002003002 свет"),
    ("3103", "2310.75", "Заречная Майя Львовна", "1002003003", "ЛС №1002003003; период 10.2026"),
    ("3104", "415.20", "Тихомолов Илья Фомич", "1002003004", "Оплата э/э, лицевой счет 1002003004"),
    ("3105", "1777.00", "Журавина Ася Глебовна", "1002003005", "лицевой счёт 1002003005, за октябрь"),
    ("3106", "3020.10", "Косогоров Лев Саввич", "1002003006", "Л/С 1002003006 электроэнергия"),
    ("3107", "1500.00", "Росинка Вера Тимофеевна", "1002003008", "ЛС: 1002003008 за электроэнергию"),
    ("3108", "860.35", "Бережной Пётр Климович", "1002003009", "л/с №1002003009"),
    ("3109", "640.90", "Малинова Зоя Артёмовна", "1002003010", "За эл.энергию ЛС 1002003010"),
    ("3110", "505.00", "Ветрова Нина Савельевна", "1002003001", "ЛС: 1002003001 доплата за сентябрь 2026"),
    ("3111", "7450.00", "ООО «Пекарня Колосок»", "1002003011", "Договор 118-Э, ЛС: 1002003011, в т.ч. НДС 22%"),
    ("3112", "12890.60", "ООО «Мельница на Ключах»", "1002003012", "По счету 2214 за октябрь 2026, л/с 1002003012, в т.ч. НДС 22%"),
    ("3113", "930.00", "Снегирёв Остап Юрьевич", "1002003013", "ЛС:1002003013"),
    ("3114", "1115.45", "Лугова Дина Назаровна", "1002003014", "лс 1002003014 октябрь"),
    ("3115", "270.00", "Грачёв Фома Ильич", "1002003015", "ЛС: 1002003015"),
    ("3116", "4600.00", "ИП Озёрный Глеб Титович", "1002003016", "За электроэнергию, л/с 1002003016, без НДС"),
    ("3117", "1380.25", "Вишняк Эмма Родионовна", "1002003017", "ЛС: 1002003017 (октябрь)"),
    ("3118", "720.00", "Полынин Егор Маркович", "1002003002", "л/с 1002003002 пени"),
    ("3119", "1999.99", "Рябинина Лада Кузьминична", "1002003018", "Лицевой счет: 1002003018"),
    ("3120", "845.15", "Хвойный Марк Денисович", "1002003019", "ЛС № 1002003019 за октябрь"),
    ("3121", "1010.00", "Ключевая Рита Савельевна", "1002003020", "л/с: 1002003020"),
    ("3122", "333.33", "Дубравин Яков Антонович", "1002003021", "оплата света лицевой счет №1002003021"),
];

/// Incoming without a customer account: money that a person must assign.
#[rustfmt::skip]
const UNRECOGNISED: [Incoming; 3] = [
    ("3123", "1450.00", "Тучкина Алла Ефимовна", "", "За электроэнергию ул. Родниковая 7 кв 12"),
    ("3124", "58200.00", "ООО «Лесопилка Верх»", "", "Плата за технологическое присоединение по договору 41/ТП"),
    ("3125", "90.00", "Мостовой Клим Петрович", "", "Возврат ошибочного зачисления"),
];

/// Outgoing: counted, and nothing else. The fourth column is empty.
#[rustfmt::skip]
const OUTGOING: [Incoming; 4] = [
    ("901", "15400.00", "ООО «Опора-Монтаж»", "", "Оплата по договору подряда 77, замена опор"),
    ("902", "2300.50", "АО «Связь Долины»", "", "Услуги связи за октябрь 2026"),
    ("903", "64000.00", "АО «Генерация Заречья»", "", "Покупка электроэнергии, аванс за ноябрь 2026"),
    ("904", "118.00", "Банк «Пристань»", "", "Комиссия за ведение счета"),
];

/// The day's statement: 30 documents, one of them twice.
pub fn statement() -> Statement {
    let mut documents: Vec<Document> = Vec::new();
    for (place, row) in RECOGNISED.iter().chain(&UNRECOGNISED).enumerate() {
        documents.push(document(row, place, true));
    }
    for (place, row) in OUTGOING.iter().enumerate() {
        documents.insert(3 + place * 6, document(row, 100 + place, false));
    }
    let repeated = documents.iter().find(|document| document.number == REPEATED).cloned();
    let middle = documents.len() / 2;
    if let Some(repeated) = repeated {
        documents.insert(middle, repeated);
    }
    Statement { documents, ..account_of_utility() }
}

/// Three payments that are in no other file, and a closing balance that is ten kopecks too high.
pub fn broken() -> Statement {
    let rows = RECOGNISED.iter().take(3).enumerate();
    let documents = rows.map(|(place, row)| {
        let document = document(row, place, true);
        Document { number: format!("9{}", document.number), ..document }
    });
    Statement { documents: documents.collect(), closing_error: 10, ..account_of_utility() }
}

/// The accounts that billing knows, by number: all of the statement and the terminal's.
pub fn accounts() -> BTreeMap<String, Account> {
    let holders = RECOGNISED.iter().map(|(_, _, holder, number, _)| (*number, *holder));
    let all = holders.chain([(TERMINAL_ACCOUNT, "Ромашкина Ева Демидовна")]);
    let opened = |(number, holder): (&str, &str)| {
        let house = number.trim_start_matches("1002003").trim_start_matches('0');
        let address = format!("г. Заречинск, ул. Родниковая, {house}");
        let account = Account { holder: holder.to_owned(), address, opening_due: 125_040 };
        (number.to_owned(), account)
    };
    all.map(opened).collect()
}

/// What must come of the inputs.
#[derive(Clone, Debug)]
pub struct Expected {
    pub documents: usize,
    pub received: usize,
    pub rejected: usize,
    pub outgoing: usize,
    pub repeated: usize,
    /// Kopecks of the recognised payments of the statement.
    pub received_total: i64,
    /// Kopecks of the terminal's payment.
    pub terminal_total: i64,
}

pub fn expected() -> Expected {
    let statement = statement();
    let distinct = statement.distinct().count();
    let total = |rows: &[Incoming]| rows.iter().filter_map(|row| money::kopecks(row.1)).sum();
    Expected {
        documents: statement.documents.len(),
        received: RECOGNISED.len(),
        rejected: UNRECOGNISED.len(),
        outgoing: OUTGOING.len(),
        repeated: statement.documents.len() - distinct,
        received_total: total(&RECOGNISED),
        terminal_total: money::kopecks(TERMINAL_SUM).unwrap_or_default(),
    }
}

fn account_of_utility() -> Statement {
    Statement {
        account: "40702810900000041702".to_owned(),
        holder: "АО «Заречинские электросети»".to_owned(),
        holder_inn: "9909412345".to_owned(),
        bank: "Банк «Пристань»".to_owned(),
        bank_bic: "049909411".to_owned(),
        day: "20.11.2026".to_owned(),
        opening: 48_230_115,
        documents: Vec::new(),
        closing_error: 0,
    }
}

fn document(row: &Incoming, place: usize, incoming: bool) -> Document {
    let (number, amount, party, account, purpose) = *row;
    let company = party.contains('«');
    let by_code = number == "3121";
    Document {
        number: number.to_owned(),
        amount: money::kopecks(amount).unwrap_or_default(),
        incoming,
        party: party.to_owned(),
        party_inn: if company { format!("99094{place:05}") } else { String::new() },
        party_account: format!("{}810400000{place:06}", if company { "40702" } else { "40817" }),
        party_bank: "Банк «Маяк»".to_owned(),
        party_bic: "049909422".to_owned(),
        code: if by_code { account.to_owned() } else { String::new() },
        purpose: if by_code { "За электроэнергию".to_owned() } else { purpose.to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_statement_adds_up() {
        let (statement, expected) = (statement(), expected());
        assert_eq!(statement.documents.len(), 30);
        assert_eq!(expected.repeated, 1);
        assert_eq!(expected.received + expected.rejected + expected.outgoing, 29);
        let totals = statement.totals();
        assert_eq!(totals.closing, statement.opening + totals.received - totals.spent);
        for document in &statement.documents {
            assert!(document.amount > 0, "{}", document.number);
            assert_eq!(document.party_account.len(), 20);
        }
    }

    #[test]
    fn the_files_are_those_of_the_tables() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../inputs");
        for (name, content) in [(STATEMENT, statement().render()), (BROKEN, broken().render())] {
            let committed = std::fs::read(folder.join(name)).unwrap();
            assert!(committed == content, "{name}: run `busbar-demo write-inputs deploy/demo/inputs`");
        }
    }
}
