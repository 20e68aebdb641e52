//! Words of МЭДО and those of the canonical messages.

/// Kinds of documents.
const KINDS: [(&str, &str); 7] = [
    ("Письмо", "letter"),
    ("Договор", "contract"),
    ("Акт", "act"),
    ("Приказ", "order"),
    ("Распоряжение", "order"),
    ("Счет", "invoice"),
    ("УПД", "transfer-document"),
];

/// Reasons of a refusal: the enumeration of the XSD and what each is in `document.status.changed.v1`.
const REASONS: [(&str, &str); 28] = [
    ("Не подлежит регистрации", "other"),
    ("Ошибка адресации", "not-ours"),
    ("Не указан корреспондент", "mistake-in-document"),
    ("Нет искового заявления", "mistake-in-document"),
    ("Отсутствует текст", "mistake-in-document"),
    ("Нет подписи", "mistake-in-document"),
    ("Приложение отсутствует", "mistake-in-document"),
    ("Листаж приложения указан ошибочно", "mistake-in-document"),
    ("Несовпадение реквизитов приложения с приложенными документами", "mistake-in-document"),
    ("Нет № и даты", "mistake-in-document"),
    ("Не полная комплектация", "mistake-in-document"),
    ("Дата документа неразборчива", "mistake-in-document"),
    ("Исходящий номер документа неразборчив", "mistake-in-document"),
    ("Отсутствует (не видна) подпись", "mistake-in-document"),
    ("Перевернуты страницы", "mistake-in-document"),
    ("Продублированы страницы", "mistake-in-document"),
    ("В приложении проект нормативного акта", "other"),
    ("Документ ДСП", "other"),
    ("Документ и/или приложение отсканированы с оборотом", "mistake-in-document"),
    ("Документ неверно адресован", "not-ours"),
    ("Документ получен ранее на бумажном носителе", "duplicate"),
    ("Документ зарегистрирован ранее, текст взамен разосланного загружен", "duplicate"),
    ("Количество страниц в тексте документа не соответствует заявленному", "mistake-in-document"),
    ("Несоответствие переданных реквизитов тексту документа", "mistake-in-document"),
    ("Отсутствует приложение, указанное в документе", "mistake-in-document"),
    ("Текст неразборчив", "mistake-in-document"),
    ("Текст отсутствует", "mistake-in-document"),
    ("Текст не соответствует регламенту", "mistake-in-document"),
];

/// The canonical kind of a document; `unknown` for a kind that has no word here.
pub fn kind_of(text: &str) -> &'static str {
    KINDS.iter().find(|(name, _)| name.to_lowercase() == text.to_lowercase()).map_or("unknown", |(_, kind)| kind)
}

pub fn name_of_kind(kind: &str) -> Option<&'static str> {
    KINDS.iter().find(|(_, canonical)| *canonical == kind).map(|(name, _)| *name)
}

/// The code of a reason of a refusal.
pub fn reason_code(text: &str) -> &'static str {
    REASONS.iter().find(|(name, _)| *name == text).map_or("other", |(_, code)| code)
}

/// The reason to write: the text itself where МЭДО has it, or the one that says least that is wrong.
pub fn reason_to_write(code: &str, text: &str) -> &'static str {
    if let Some((name, _)) = REASONS.iter().find(|(name, _)| *name == text) {
        return name;
    }
    match code {
        "not-ours" => "Документ неверно адресован",
        "mistake-in-document" => "Несоответствие переданных реквизитов тексту документа",
        "duplicate" => "Документ получен ранее на бумажном носителе",
        _ => "Не подлежит регистрации",
    }
}

/// What an event means for the document.
pub fn status_of(event: &str) -> Option<&'static str> {
    Some(match event {
        "documentAccepted" => "registered",
        "documentRefused" => "refused",
        "executorAssigned" | "courseChanged" => "in-work",
        "reportPrepared" => "answer-prepared",
        "reportSent" => "answered",
        "documentPublished" => "published",
        _ => return None,
    })
}

/// The media type of a file by МЭДО's word for it, or by its name.
pub fn media_type(file_type: Option<&str>, name: &str) -> Option<&'static str> {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_lowercase());
    Some(match file_type.map(str::to_lowercase).or(extension)?.as_str() {
        "pdf" => "application/pdf",
        "tif" | "tiff" => "image/tiff",
        "doc" => "application/msword",
        "docx" => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "txt" => "text/plain",
        "xml" => "application/xml",
        _ => return None,
    })
}

/// The types of files that МЭДО has a word for.
pub fn file_type(name: &str) -> Option<&'static str> {
    let (_, extension) = name.rsplit_once('.')?;
    ["pdf", "tif", "doc", "txt", "xml"].into_iter().find(|known| extension.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_nobody_knows_are_not_the_usual_ones() {
        assert_eq!((kind_of("ПИСЬМО"), kind_of("Справка"), kind_of("Письма")), ("letter", "unknown", "unknown"));
        assert_eq!((status_of("documentAccepted"), status_of("documentLiked")), (Some("registered"), None));
        assert_eq!((reason_code("Ошибка адресации"), reason_code("Так решили")), ("not-ours", "other"));
    }
}
