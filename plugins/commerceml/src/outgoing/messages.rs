//! What the messages hold, and what document each is.

use busbar_sdk::documents::Reference;
use busbar_sdk::money::{self, Money};
use busbar_sdk::{Rejection, dates, ids};
use serde::Deserialize;

use super::{Document, Goods, Party, checked, day, fitting, missing, seller};
use crate::settings::Settings;

/// `invoice.issued.v1`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Invoice {
    account: String,
    number: String,
    issued_on: String,
    due_on: Option<String>,
    amount: Money,
    #[serde(default)]
    lines: Vec<Line>,
    #[serde(default)]
    customer: Customer,
}

#[derive(Deserialize)]
struct Line {
    service: String,
    quantity: Option<String>,
    price: Option<Money>,
    amount: Money,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Customer {
    name: Option<String>,
    tax_id: Option<String>,
    tax_registration_code: Option<String>,
    address: Option<String>,
}

impl Invoice {
    pub fn document(self, settings: &Settings, place: &dyn Fn(&str) -> String) -> Result<Document, Rejection> {
        for amount in self.lines.iter().map(|line| &line.amount).chain([&self.amount]) {
            checked(amount, &self.amount.currency, place("/amount"))?;
        }
        let buyer = Party {
            id: Some(ids::derived(&["commerceml", &self.account])),
            role: "Покупатель".to_owned(),
            ..party(self.customer, &self.account)
        };
        let goods = self.lines.into_iter().map(|line| Goods {
            id: None,
            name: line.service,
            price: line.price.filter(|price| price.minor().is_some()).map(|price| price.value),
            quantity: line.quantity,
            amount: line.amount.value,
        });
        Ok(Document {
            // The number is unique within the utility.
            id: ids::derived(&["commerceml", &self.number]),
            number: self.number,
            issued_on: day(&self.issued_on, place("/issuedOn"))?,
            operation: "Счет на оплату".to_owned(),
            role: "Продавец".to_owned(),
            currency: self.amount.currency,
            amount: self.amount.value,
            parties: seller(settings).into_iter().chain([buyer]).collect(),
            due_on: self.due_on.map(|due| day(&due, place("/dueOn"))).transpose()?,
            comment: format!("ЛС: {}", self.account),
            goods: goods.collect(),
            ..Document::default()
        })
    }
}

/// `document.issued.v1`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Issued {
    document: Reference,
    title: Option<String>,
    sender: Option<Customer>,
    recipient: Option<Customer>,
    account: Option<String>,
    amount: Option<Money>,
    tax: Option<Money>,
    in_answer_to: Option<Reference>,
}

impl Issued {
    pub fn document(self, settings: &Settings, place: &dyn Fn(&str) -> String) -> Result<Document, Rejection> {
        let Reference { id, number, kind, issued_on } = self.document;
        let Some(name) = number.clone().or(id.clone()) else {
            return Err(missing("a number", place("/document/number")));
        };
        let issued_on = issued_on.ok_or_else(|| missing("its day", place("/document/issuedOn")))?;
        let amount = self.amount.ok_or_else(|| missing("a sum", place("/amount")))?;
        checked(&amount, &amount.currency, place("/amount"))?;
        if let Some(tax) = &self.tax {
            checked(tax, &amount.currency, place("/tax"))?;
        }
        let ours = |side: &Option<Customer>| {
            let tax_id = side.as_ref().and_then(|side| side.tax_id.as_deref());
            tax_id.is_some_and(|tax_id| tax_id == settings.seller.tax_id)
        };
        let role = if ours(&self.recipient) { "Покупатель" } else { "Продавец" };
        let mut parties = Vec::new();
        for (side, role) in [(self.sender, "Продавец"), (self.recipient, "Покупатель")] {
            let Some(side) = side else { continue };
            let name = side.name.clone().or(side.tax_id.clone()).or(self.account.clone());
            let Some(name) = name else { continue };
            parties.push(Party { role: role.to_owned(), ..party(side, &name) });
        }
        if let (true, Some(account)) = (parties.is_empty(), &self.account) {
            parties.push(Party { role: "Покупатель".to_owned(), ..party(Customer::default(), account) });
        }
        if parties.is_empty() {
            return Err(missing("a party", place("/recipient")));
        }
        let answered = self.in_answer_to.and_then(|answered| answered.number.or(answered.id));
        let comment = [
            self.title,
            self.account.map(|account| format!("ЛС: {account}")),
            answered.map(|number| format!("к документу {number}")),
        ];
        Ok(Document {
            id: fitting(&id.unwrap_or_else(|| ids::derived(&["commerceml", &name, &issued_on]))),
            number: name,
            issued_on: day(&issued_on, place("/document/issuedOn"))?,
            operation: operation(kind.as_deref().unwrap_or_default()).to_owned(),
            role: role.to_owned(),
            currency: amount.currency,
            amount: amount.value,
            parties,
            comment: comment.into_iter().flatten().collect::<Vec<_>>().join("; "),
            tax: self.tax.map(|tax| tax.value),
            ..Document::default()
        })
    }
}

/// The other way round than in `decode`.
fn operation(kind: &str) -> &'static str {
    match kind {
        "order" => "Заказ товара",
        "invoice" => "Счет на оплату",
        "tax-invoice" => "Счет-фактура",
        "transfer-document" => "Отпуск товара",
        "return" => "Возврат товара",
        "payment" => "Выплата безналичных денег",
        "refund" => "Возврат безналичных денег",
        _ => "Прочие",
    }
}

/// `service.requested.v1`: the sale of a product.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Requested {
    id: String,
    requested_on: String,
    requested_at: Option<String>,
    account: Option<String>,
    metering_point: Option<String>,
    address: Option<Address>,
    #[serde(default)]
    customer: Contact,
    product: Option<String>,
    quantity: Option<String>,
    price: Option<Money>,
    wanted_on: Option<String>,
    text: Option<String>,
}

#[derive(Deserialize)]
struct Address {
    text: Option<String>,
}

#[derive(Default, Deserialize)]
struct Contact {
    customer: Option<String>,
    name: Option<String>,
    phone: Option<String>,
    email: Option<String>,
}

impl Requested {
    pub fn document(self, settings: &Settings, place: &dyn Fn(&str) -> String) -> Result<Document, Rejection> {
        let product = self.product.ok_or_else(|| missing("a product", place("/product")))?;
        let price = self.price.ok_or_else(|| missing("a sum", place("/price")))?;
        checked(&price, &price.currency, place("/price"))?;
        let name = self.customer.name.or(self.account.clone()).or(self.customer.customer.clone());
        let name = name.ok_or_else(|| missing("a party", place("/customer")))?;
        let address = self.address.and_then(|address| address.text);
        let buyer = Party {
            id: Some(self.customer.customer.or(self.account.clone()).unwrap_or_else(|| name.clone()))
                .map(|id| ids::derived(&["commerceml", &id])),
            name,
            address: address.clone(),
            phone: self.customer.phone,
            email: self.customer.email,
            role: "Покупатель".to_owned(),
            ..Party::default()
        };
        let quantity = self.quantity.unwrap_or_else(|| "1".to_owned());
        let goods = Goods {
            id: Some(fitting(&product)),
            // The message knows the product's id alone: 1C finds it by that.
            name: product,
            price: unit_price(&price, &quantity),
            quantity: Some(quantity),
            amount: price.value.clone(),
        };
        let comment = [
            self.account.map(|account| format!("ЛС: {account}")),
            self.metering_point.map(|point| format!("точка учёта {point}")),
            self.wanted_on.map(|day| format!("желаемый день {day}")),
            self.text,
        ];
        let time = self.requested_at.and_then(|moment| local_time(settings, &moment, &self.requested_on));
        Ok(Document {
            id: fitting(&self.id),
            number: self.id,
            issued_on: day(&self.requested_on, place("/requestedOn"))?,
            time,
            operation: "Заказ товара".to_owned(),
            role: "Продавец".to_owned(),
            currency: price.currency,
            amount: price.value,
            parties: seller(settings).into_iter().chain([buyer]).collect(),
            comment: comment.into_iter().flatten().collect::<Vec<_>>().join("; "),
            goods: vec![goods],
            delivery_address: address,
            ..Document::default()
        })
    }
}

/// The sum divided by a whole quantity, where that makes whole kopecks.
fn unit_price(sum: &Money, quantity: &str) -> Option<String> {
    let (minor, quantity) = (sum.minor()?, quantity.parse::<i128>().ok()?);
    let is_exact = minor.checked_rem(quantity)? == 0;
    is_exact.then(|| minor.checked_div(quantity).map(money::format_minor)).flatten()
}

/// The time of the day, where the moment is on that day here.
fn local_time(settings: &Settings, moment: &str, day: &str) -> Option<String> {
    let ms = u64::try_from(dates::unix_ms(moment, settings.utc_offset)?).ok()?;
    let local = dates::local_of_unix_ms(ms, settings.utc_offset)?;
    let time = format!("{:02}:{:02}:{:02}", local.hour(), local.minute(), local.second());
    (dates::iso_date(local.date()) == day).then_some(time)
}

fn party(customer: Customer, otherwise: &str) -> Party {
    Party {
        name: customer.name.unwrap_or_else(|| otherwise.to_owned()),
        tax_id: customer.tax_id,
        tax_registration_code: customer.tax_registration_code,
        address: customer.address,
        ..Party::default()
    }
}
