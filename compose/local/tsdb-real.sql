-- The server has the TimescaleDB extension: make the sample table a real hypertable.
create extension if not exists timescaledb;
select create_hypertable('conditions', 'time', migrate_data => true, if_not_exists => true);
