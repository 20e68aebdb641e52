use super::*;

fn chunked(bytes: &[u8], size: usize, limits: Limits) -> Xml<impl FnMut(u32) -> Vec<u8>> {
    let mut chunks = bytes.chunks(size);
    Xml::new(move |_| chunks.next().unwrap_or_default().to_vec(), limits)
}

/// Everything in one line: `<a x=1>`, text, `</>`.
fn flat(bytes: &[u8], size: usize) -> Result<String, Rejection> {
    let mut xml = chunked(bytes, size, Limits::default());
    let mut flat = String::new();
    loop {
        match xml.next_event()? {
            Event::Start(element) => {
                flat += &format!("<{}", element.name);
                for (name, value) in element.attributes() {
                    flat += &format!(" {name}={value}");
                }
                flat += &format!(">{}:", element.line);
            }
            Event::End => flat += "</>",
            Event::Text(text) => flat += &text,
            Event::Eof => return Ok(flat),
        }
    }
}

fn code_of(bytes: &[u8]) -> (String, String) {
    let codes: Vec<_> = [1, 2, 7, bytes.len().max(1)]
        .into_iter()
        .map(|size| {
            let rejection = flat(bytes, size).unwrap_err();
            (rejection.code, rejection.place.unwrap_or_default())
        })
        .collect();
    assert!(codes.windows(2).all(|pair| pair[0] == pair[1]), "{codes:?}");
    codes[0].clone()
}

#[test]
fn events_are_the_same_at_any_chunk_border() {
    let text = "\u{FEFF}<?xml version=\"1.0\"?>\n<!-- c -->\n<a:b x='1 &amp; 2' y:z=\"&#x416;&quot;\">\r\n  t&lt;<![CDATA[<&]]>&#1046;\r\n<c/>\n</a:b>\n<!-- d -->";
    let expected = "<b x=1 & 2 y:z=Ж\">3:\n  t<<&Ж\n<c>5:</></>";
    for size in 1..=text.len() {
        assert_eq!(flat(text.as_bytes(), size).unwrap(), expected, "chunks of {size}");
    }
}

#[test]
fn pulled_from_the_top_down() {
    let text = b"<m xmlns='u' k='v'><n> a\n b </n><s><t/>x<u>1</u></s><e/></m>";
    let mut xml = Xml::of_bytes(text);
    let root = xml.root().unwrap();
    assert_eq!((root.attribute("k"), root.attribute("u"), root.attribute("xmlns")), (Some("v"), None, Some("u")));
    let n = xml.child().unwrap().unwrap();
    assert_eq!((n.name.as_str(), xml.path()), ("n", "m/n".to_owned()));
    assert_eq!(xml.text().unwrap(), "a\n b");
    assert_eq!(xml.place_of(&n), "line 1, element m/n");
    assert_eq!(xml.child().unwrap().unwrap().name, "s");
    xml.skip().unwrap();
    assert_eq!(xml.child().unwrap().unwrap().name, "e");
    assert_eq!(xml.place(), "line 2, element m/e");
    assert_eq!(xml.text().unwrap(), "");
    assert_eq!(xml.child().unwrap(), None);
    xml.finish().unwrap();
}

#[test]
fn what_does_not_belong() {
    let mut xml = Xml::of_bytes(b"<m>\ntext<a/></m>");
    xml.root().unwrap();
    assert_eq!(xml.child().unwrap_err().code, "unexpected-text");
    let mut xml = Xml::of_bytes(b"<m>text<a/></m>");
    xml.root().unwrap();
    let rejection = xml.text().unwrap_err();
    assert_eq!(
        (rejection.code.as_str(), rejection.place.as_deref()),
        ("unexpected-element", Some("line 1, element m/a"))
    );
}

#[test]
fn the_bytes_decide_about_the_encoding() {
    for (declared, real) in [
        ("windows-1251", Encoding::Windows1251),
        ("utf-8", Encoding::Windows1251),
        ("UTF-8", Encoding::Utf8),
        ("windows-1251", Encoding::Utf8),
        ("koi8-r", Encoding::Utf8),
        ("cp866", Encoding::Ibm866),
    ] {
        let text = format!("<?xml version='1.0' encoding='{declared}'?><Файл>Ф№1 Подстанция</Файл>");
        let bytes = real.encode(&text);
        let mut xml = Xml::of_bytes(&bytes);
        assert_eq!(xml.root().unwrap().name, "Файл");
        assert_eq!(xml.text().unwrap(), "Ф№1 Подстанция", "{declared} {real:?}");
        assert_eq!(xml.encoding(), (Some(real), declared));
    }
    // D4 B9 is one letter of UTF-8 as well.
    let bytes = Encoding::Windows1251.encode("<?xml version='1.0' encoding='windows-1251'?><a>Ф№1</a>").into_owned();
    let mut xml = Xml::of_bytes(&bytes);
    xml.root().unwrap();
    assert_eq!(xml.text().unwrap(), "Ф№1");
    let mut mixed = "<a><b>Подстанция</b><b>".as_bytes().to_vec();
    mixed.extend_from_slice(&Encoding::Windows1251.encode("Подстанция</b></a>"));
    assert_eq!(code_of(&mixed), ("xml-encoding".into(), "line 1, element a/b".into()));
    let koi8 = b"<?xml version='1.0' encoding='koi8-r'?><a>\xF0\xCF\xC4</a>";
    assert_eq!(code_of(koi8).0, "xml-encoding");
    assert_eq!(code_of(b"\xFF\xFE<\0a\0>\0").0, "xml-encoding");
}

#[test]
fn what_is_no_xml() {
    for (text, code, place) in [
        ("", "not-xml", "line 1"),
        ("  \n", "not-xml", "line 2"),
        ("hello", "not-xml", "line 1"),
        ("<a></b>", "not-xml", "line 1, element a"),
        ("<a>\n<b></a>", "not-xml", "line 2, element a/b"),
        ("</a>", "not-xml", "line 1"),
        ("<a/>\n<b/>", "not-xml", "line 2"),
        ("<a/>\ntail", "not-xml", "line 2"),
        ("<a x=1/>", "not-xml", "line 1"),
        ("<a x='1' x='2'/>", "not-xml", "line 1"),
        ("<a>\n&#0;</a>", "not-xml", "line 2, element a"),
        ("<a>&#xFFFFFFFF;</a>", "not-xml", "line 1, element a"),
        ("<a>\u{1}</a>", "not-xml", "line 1, element a"),
        ("<a>x & y</a>", "not-xml", "line 1, element a"),
        ("<!FOO><a/>", "not-xml", "line 1"),
        ("<a>\n<b>", "truncated", "line 2, element a/b"),
        ("<a>\n<b x='\n", "truncated", "line 3, element a"),
        ("<a>\n<!-- ", "truncated", "line 2, element a"),
        ("<a>&nbsp;</a>", "xml-entity", "line 1, element a"),
        ("<a x='&nbsp;'/>", "xml-entity", "line 1"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "xml-dtd", "line 1"),
    ] {
        assert_eq!(code_of(text.as_bytes()), (code.to_owned(), place.to_owned()), "{text:?}");
    }
}

#[test]
fn limits_are_met_before_the_memory_is() {
    let deep = "<a>".repeat(65);
    let many: String = (0..100_000).map(|number| format!(" a{number}='1'")).collect();
    let references = format!("<a>{}</a>", "&amp;".repeat(1 << 21));
    for text in [deep.clone(), format!("<a{many}/>"), format!("<{}/>", "n".repeat(257)), references] {
        let rejection = flat(text.as_bytes(), 4096).unwrap_err();
        assert_eq!(rejection.code, "xml-limit", "{:.40}", text);
        assert!(rejection.place.unwrap_or_default().len() < 1000);
    }
    for start in ["<a>", "<!--", "<a x='", "<", "<?", "<![CDATA[", "<!DOCTYPE a [", "&"] {
        let mut given = 0_usize;
        let mut first = true;
        let mut xml = Xml::new(
            |max| {
                given += max as usize;
                if std::mem::take(&mut first) { start.into() } else { vec![b'x'; max as usize] }
            },
            Limits::default(),
        );
        let failed = (0..3).find_map(|_| xml.next_event().err()).unwrap();
        assert_eq!(failed.code, "xml-limit", "{start}");
        assert!(given < 2 << 20, "{start}: {given}");
    }
    let total = Limits { total_bytes: 100, ..Limits::default() };
    let mut xml = chunked(&[b' '; 200], 64, total);
    assert_eq!(xml.root().unwrap_err().code, "xml-limit");
}

#[test]
fn hostile_bytes_never_panic() {
    let seed = "<?xml version='1.0' encoding='windows-1251'?><m a='1' b:c=\"&lt;\"><!-- x --><n>Ж&#1046;</n><![CDATA[x]]><?p i?><e/></m>";
    let mut random = 0x9E37_79B9_u32;
    for end in 0..seed.len() {
        assert!(flat(&seed.as_bytes()[..end], 5).is_err(), "{end}");
    }
    for _ in 0..20_000 {
        let mut bytes = seed.as_bytes().to_vec();
        for _ in 0..3 {
            random ^= random << 13;
            random ^= random >> 17;
            random ^= random << 5;
            let at = random as usize % bytes.len();
            bytes[at] = (random >> 16) as u8;
        }
        let _ = flat(&bytes, 1 + random as usize % 9);
    }
}

#[test]
fn what_is_written_is_read_again() {
    let mut file = Vec::new();
    let mut writer = XmlWriter::new(Encoding::Windows1251, |bytes| file.extend_from_slice(bytes));
    writer.start("m", &[("a", "\"<Щ>&'\n")]);
    writer.leaf("n", &[], "Ёж & 漢 ]]> \u{1}.");
    writer.leaf("e", &[("s", "1")], "");
    writer.finish();
    let text = Encoding::Windows1251.decode(&file).into_owned();
    assert!(text.starts_with("<?xml version=\"1.0\" encoding=\"windows-1251\"?>\n<m a="), "{text}");
    assert_eq!(flat(&file, 3).unwrap(), "<m a=\"<Щ>&'\n>2:<n>3:Ёж & 漢 ]]>  .</><e s=1>4:</></>");
}
