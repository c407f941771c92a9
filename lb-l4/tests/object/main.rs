//! The compiled objects, without a kernel: do the structs agree with `lb_l4::abi`, and would Linux 6.1
//! know what the program asks for, and have the stack for it?

mod btf;
mod header;
mod layout;
mod stack;

use lb_l4::object;
use object_file::elf::FileHeader64;
use object_file::read::elf::ElfFile;
use object_file::{Endianness, Object, ObjectSection, SectionKind};

use btf::Btf;

/// The newest helper that Linux 6.1 has: bpf_user_ringbuf_drain (include/uapi/linux/bpf.h).
const NEWEST_HELPER: i32 = 209;
/// BPF_JMP | BPF_CALL, and what the source register says about it.
const CALL: u8 = 0x85;
const OF_HELPER: u8 = 0;
const WITHIN_PROGRAM: u8 = 1;

/// The object that enters flows of other nodes.
const IMPORT: &str = "import";

type File = ElfFile<'static, FileHeader64<Endianness>>;

fn files() -> [(&'static str, File); 3] {
    [("XDP", object::XDP), ("tc", object::TC), (IMPORT, object::SYNC)]
        .map(|(name, bytes)| (name, ElfFile::parse(bytes).expect("an ELF file")))
}

fn btf(file: &File) -> Btf {
    Btf::parse(file.section_by_name(".BTF").expect("BTF").data().expect("its bytes"))
}

#[test]
fn every_struct_has_the_offsets_that_the_program_uses() {
    for (hook, file) in files() {
        let btf = btf(&file);
        let import = (hook == IMPORT).then(layout::import);
        for ours in layout::structs().into_iter().chain(import) {
            let theirs = btf.structure(ours.name).unwrap_or_else(|| panic!("{hook}: a struct {}", ours.name));
            assert_eq!(theirs.size, ours.size, "{hook}: size of {}", ours.name);
            assert_eq!(theirs.fields, ours.fields, "{hook}: fields of {} with offset and size", ours.name);
        }
    }
}

#[test]
fn every_constant_has_the_value_that_the_program_uses() {
    for (name, ours) in layout::enums() {
        assert_eq!(header::enumeration(name), ours, "enum {name} of types.h");
    }
}

#[test]
fn linux_6_1_has_every_helper() {
    for (hook, file) in files() {
        let calls = calls(&file);
        assert!(calls.len() > 20, "{hook}: {} calls", calls.len());
        for (source, id) in calls.into_iter().filter(|(source, _)| *source != WITHIN_PROGRAM) {
            assert_eq!(source, OF_HELPER, "{hook}: a function of the kernel itself");
            assert!((1..=NEWEST_HELPER).contains(&id), "{hook}: helper {id}");
        }
    }
}

/// MAX_BPF_STACK of include/linux/filter.h.
const STACK: u32 = 512;

#[test]
fn linux_6_1_has_the_stack_for_every_chain_of_calls() {
    for (hook, file) in files() {
        let deepest = stack::deepest(&file);
        assert!((200..=STACK).contains(&deepest), "{hook}: {deepest} bytes");
    }
}

/// Source register and number of every call.
fn calls(file: &File) -> Vec<(u8, i32)> {
    let code = file.sections().filter(|section| section.kind() == SectionKind::Text);
    let instructions = code.flat_map(|section| section.data().expect("its bytes").as_chunks::<8>().0);
    let calls = instructions.filter(|instruction| instruction[0] == CALL);
    calls.map(|&[_, registers, _, _, a, b, c, d]| (registers >> 4, i32::from_le_bytes([a, b, c, d]))).collect()
}
