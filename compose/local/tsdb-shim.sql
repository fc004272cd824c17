-- Plain PostgreSQL: the few names of TimescaleDB that the MCP server asks for, so that its
-- tools answer. This is a stand-in for trying the gateway, not a time-series database.
create schema timescaledb_information;

create view timescaledb_information.hypertables as
select 'public'::name as hypertable_schema, 'conditions'::name as hypertable_name,
       'postgres'::name as owner, 1::smallint as num_dimensions,
       (select count(distinct time::date) from public.conditions) as num_chunks,
       false as compression_enabled;

create view timescaledb_information.dimensions as
select 'public'::name as hypertable_schema, 'conditions'::name as hypertable_name,
       1::bigint as dimension_number, 'time'::name as column_name,
       'timestamp with time zone'::regtype as column_type, 'Time'::text as dimension_type,
       interval '1 day' as time_interval, null::bigint as integer_interval,
       null::name as integer_now_func;

create view timescaledb_information.chunks as
select 'public'::name as hypertable_schema, 'conditions'::name as hypertable_name,
       'public'::name as chunk_schema, ('conditions_' || to_char(d, 'YYYYMMDD'))::name as chunk_name,
       d as range_start, d + interval '1 day' as range_end
from (select distinct date_trunc('day', time, 'UTC') as d from public.conditions) as days;

create function time_bucket(width interval, at timestamptz) returns timestamptz
  language sql immutable parallel safe
  return date_bin(width, at, timestamptz '2000-01-03 00:00:00+00');
