"""What the command lines have in common."""

import pathlib


def add_files(parser, tables="tables"):
    parser.add_argument("--markdown", type=pathlib.Path, help=f"also write the {tables} here")
    parser.add_argument("--json", type=pathlib.Path, help="also write every measurement here")


def parse(parser, quick):
    """`quick`: the values of options that `--quick` stands for."""
    options = parser.parse_args()
    if options.quick:
        vars(options).update(quick)
    return options


def chosen(parser, table, text):
    """What was named, or everything."""
    names = [name for name in text.split(",") if name] or list(table)
    for name in names:
        if name not in table:
            parser.error(f"no `{name}`; there are: {', '.join(table)}")
    return [table[name] for name in names]
