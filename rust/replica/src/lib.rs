//! One running replica: joins ordering, execution, storage and transport.
