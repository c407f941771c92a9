//! BTF as Documentation/bpf/btf.rst of the kernel describes it: as much as structs take.

const MAGIC: u16 = 0xEB9F;

mod kind {
    pub const INT: u32 = 1;
    pub const ARRAY: u32 = 3;
    pub const STRUCT: u32 = 4;
    pub const UNION: u32 = 5;
    pub const ENUM: u32 = 6;
    pub const TYPEDEF: u32 = 8;
    pub const VOLATILE: u32 = 9;
    pub const CONST: u32 = 10;
    pub const RESTRICT: u32 = 11;
    pub const FUNC_PROTO: u32 = 13;
    pub const VAR: u32 = 14;
    pub const DATASEC: u32 = 15;
    pub const DECL_TAG: u32 = 17;
    pub const ENUM64: u32 = 19;
}

pub struct Btf {
    /// Type 0 is void.
    types: Vec<Type>,
    strings: Vec<u8>,
}

struct Type {
    name: u32,
    kind: u32,
    count: u32,
    /// Of structs and integers; else the type that this one is about.
    size_or_type: u32,
    rest: Vec<u32>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Structure {
    pub size: usize,
    /// Name, offset and size in bytes.
    pub fields: Vec<(String, usize, usize)>,
}

impl Btf {
    pub fn parse(bytes: &[u8]) -> Self {
        let words = |from: usize, length: usize| -> Vec<u32> {
            let (chunks, _) = bytes[from..from + length].as_chunks::<4>();
            chunks.iter().map(|word| u32::from_le_bytes(*word)).collect()
        };
        assert_eq!(u16::from_le_bytes([bytes[0], bytes[1]]), MAGIC);
        let header = words(4, 20);
        let [length, types, types_length, strings, strings_length] = header[..] else { panic!("a header of BTF") };
        let at = |offset: u32| (length + offset) as usize;
        Self {
            types: read_types(&words(at(types), types_length as usize)),
            strings: bytes[at(strings)..at(strings + strings_length)].to_vec(),
        }
    }

    pub fn structure(&self, name: &str) -> Option<Structure> {
        let found = self.named(kind::STRUCT, name)?;
        let field = |member: &[u32]| {
            assert!(member[2].is_multiple_of(8), "a bit field");
            (self.text(member[0]), member[2] as usize / 8, self.size(member[1]))
        };
        Some(Structure { size: found.size_or_type as usize, fields: found.rest.chunks(3).map(field).collect() })
    }

    fn named(&self, kind: u32, name: &str) -> Option<&Type> {
        self.types.iter().find(|t| t.kind == kind && self.text(t.name) == name)
    }

    fn size(&self, index: u32) -> usize {
        let found = &self.types[index as usize];
        match found.kind {
            kind::INT | kind::STRUCT | kind::UNION | kind::ENUM => found.size_or_type as usize,
            kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT => self.size(found.size_or_type),
            kind::ARRAY => self.size(found.rest[0]) * found.rest[2] as usize,
            other => panic!("a field of kind {other}"),
        }
    }

    fn text(&self, offset: u32) -> String {
        let bytes = &self.strings[offset as usize..];
        let end = bytes.iter().position(|byte| *byte == 0).expect("an end of the string");
        String::from_utf8(bytes[..end].to_vec()).expect("ASCII")
    }
}

fn read_types(mut words: &[u32]) -> Vec<Type> {
    let mut types = vec![Type { name: 0, kind: 0, count: 0, size_or_type: 0, rest: Vec::new() }];
    while let [name, info, size_or_type, rest @ ..] = words {
        let mut found = Type {
            name: *name,
            kind: info >> 24 & 0x1F,
            count: info & 0xFFFF,
            size_or_type: *size_or_type,
            rest: vec![],
        };
        let (own, next) = rest.split_at(words_of(&found));
        found.rest = own.to_vec();
        types.push(found);
        words = next;
    }
    types
}

/// What follows the three words that every type has.
fn words_of(found: &Type) -> usize {
    let each = match found.kind {
        kind::INT | kind::VAR | kind::DECL_TAG => return 1,
        kind::ARRAY => return 3,
        kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => 3,
        kind::ENUM | kind::FUNC_PROTO => 2,
        _ => 0,
    };
    each * found.count as usize
}
