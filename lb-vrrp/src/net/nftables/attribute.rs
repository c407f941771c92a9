//! Numbers of attributes (enums of linux/netfilter/nf_tables.h), which libc does not have.

pub const TABLE_NAME: u16 = 1;
pub const TABLE_FLAGS: u16 = 2;

pub const CHAIN_TABLE: u16 = 1;
pub const CHAIN_NAME: u16 = 3;
pub const CHAIN_HOOK: u16 = 4;
pub const CHAIN_TYPE: u16 = 7;
pub const HOOK_NUMBER: u16 = 1;
pub const HOOK_PRIORITY: u16 = 2;

pub const SET_TABLE: u16 = 1;
pub const SET_NAME: u16 = 2;
pub const SET_KEY_TYPE: u16 = 4;
pub const SET_KEY_LENGTH: u16 = 5;
pub const SET_ID: u16 = 10;
pub const ELEMENTS_TABLE: u16 = 1;
pub const ELEMENTS_SET: u16 = 2;
pub const ELEMENTS: u16 = 3;
pub const ELEMENT_KEY: u16 = 1;

pub const RULE_TABLE: u16 = 1;
pub const RULE_CHAIN: u16 = 2;
pub const RULE_EXPRESSIONS: u16 = 4;
pub const LIST_ELEMENT: u16 = 1;
pub const EXPRESSION_NAME: u16 = 1;
pub const EXPRESSION_DATA: u16 = 2;

pub const DATA_VALUE: u16 = 1;
pub const DATA_VERDICT: u16 = 2;
pub const VERDICT_CODE: u16 = 1;

pub const META_REGISTER: u16 = 1;
pub const META_KEY: u16 = 2;
pub const PAYLOAD_REGISTER: u16 = 1;
pub const PAYLOAD_BASE: u16 = 2;
pub const PAYLOAD_OFFSET: u16 = 3;
pub const PAYLOAD_LENGTH: u16 = 4;
pub const COMPARE_REGISTER: u16 = 1;
pub const COMPARE_OPERATOR: u16 = 2;
pub const COMPARE_DATA: u16 = 3;
pub const LOOKUP_SET: u16 = 1;
pub const LOOKUP_REGISTER: u16 = 2;
pub const IMMEDIATE_REGISTER: u16 = 1;
pub const IMMEDIATE_DATA: u16 = 2;
