-- Sample data for the alias timescale: measurements of five sensors over two days.
create table conditions (
  time        timestamptz not null,
  sensor      text not null,
  temperature double precision not null,
  humidity    double precision not null
);
insert into conditions
select t, 'sensor-' || s,
       round((18 + s + 6 * sin(extract(epoch from t) / 13751))::numeric, 2),
       round((55 - s + 9 * cos(extract(epoch from t) / 13751))::numeric, 2)
from generate_series(timestamptz '2026-01-01 00:00+00', timestamptz '2026-01-02 23:50+00', interval '10 minutes') as t,
     generate_series(1, 5) as s;
create index conditions_time on conditions (time desc);
analyze conditions;
