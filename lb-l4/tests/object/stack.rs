//! How deep the stack gets, as Linux 6.1 counts it.

use std::collections::{HashMap, HashSet};

use object_file::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SymbolIndex, SymbolKind};

use crate::{CALL, File, WITHIN_PROGRAM};

/// check_max_stack_depth() of kernel/bpf/verifier.c: each frame is rounded up to that many bytes. Newer kernels round
/// to 16 where a JIT is at hand.
const ROUNDED_TO: u32 = 32;
/// BPF_ALU64 | BPF_MOV | BPF_X, and BPF_ALU64 | BPF_ADD | BPF_K.
const MOVE: u8 = 0xbf;
const ADD: u8 = 0x07;
/// r10
const FRAME: u8 = 10;

struct Function {
    frame: u32,
    calls: HashSet<SymbolIndex>,
}

/// The deepest chain of calls, its frames rounded.
pub fn deepest(file: &File) -> u32 {
    let functions = functions(file);
    functions.keys().map(|index| depth(&functions, *index)).max().expect("functions")
}

fn depth(functions: &HashMap<SymbolIndex, Function>, index: SymbolIndex) -> u32 {
    let function = &functions[&index];
    let below = function.calls.iter().map(|callee| depth(functions, *callee)).max().unwrap_or(0);
    function.frame.max(1).next_multiple_of(ROUNDED_TO) + below
}

fn functions(file: &File) -> HashMap<SymbolIndex, Function> {
    let symbols = file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0);
    symbols.map(|symbol| (symbol.index(), function(file, &symbol))).collect()
}

fn function<'a>(file: &File, symbol: &impl ObjectSymbol<'a>) -> Function {
    let section = file.section_by_index(symbol.section_index().expect("a section")).expect("that section");
    let code = symbol.address()..symbol.address() + symbol.size();
    let bytes = &section.data().expect("its bytes")[code.start as usize..code.end as usize];
    let called = section.relocations().filter(|(offset, _)| code.contains(offset));
    let is_call = |offset: u64| {
        let at = (offset - code.start) as usize;
        bytes[at] == CALL && bytes[at + 1] >> 4 == WITHIN_PROGRAM
    };
    let calls = called.filter(|(offset, _)| is_call(*offset)).map(|(_, relocation)| match relocation.target() {
        RelocationTarget::Symbol(index) => index,
        other => panic!("a call of {other:?}"),
    });
    Function { frame: frame(bytes.as_chunks::<8>().0), calls: calls.collect() }
}

/// Bytes below the frame pointer that are used: read, written, or pointed to.
fn frame(instructions: &[[u8; 8]]) -> u32 {
    let mut copies = [false; 16];
    copies[usize::from(FRAME)] = true;
    let mut lowest = 0;
    for &[code, registers, a, b, c, d, e, f] in instructions {
        let (target, source) = (registers & 15, registers >> 4);
        let (offset, value) = (i32::from(i16::from_le_bytes([a, b])), i32::from_le_bytes([c, d, e, f]));
        let at = match code & 7 {
            // BPF_LDX; BPF_ST and BPF_STX.
            1 if source == FRAME => offset,
            2 | 3 if target == FRAME => offset,
            _ if code == ADD && copies[usize::from(target)] && target != FRAME => value,
            _ => 0,
        };
        lowest = lowest.min(at);
        if target != FRAME && code & 7 != 2 && code & 7 != 3 {
            copies[usize::from(target)] = code == MOVE && source == FRAME;
        }
    }
    lowest.unsigned_abs()
}
