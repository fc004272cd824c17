-- Sample data for the alias db: 200 customers. Made from the row number, so every run has the same.
create table customers (
  id         integer primary key,
  name       text not null,
  email      text not null unique,
  city       text not null,
  plan       text not null check (plan in ('free', 'team', 'business')),
  balance    numeric(10, 2) not null,
  created_at timestamptz not null
);
comment on table customers is 'Sample data of ./run';

with words as (
  select array['Ada','Bruno','Chiara','Dmitri','Elif','Farid','Greta','Hugo','Ines','Jonas',
               'Keiko','Lars','Mina','Nils','Olga','Pablo','Qi','Rosa','Sami','Tova'] as firsts,
         array['Almeida','Berg','Costa','Dubois','Eriksen','Fischer','Garcia','Haas','Ivanov','Jensen'] as lasts,
         array['Lisbon','Oslo','Zurich','Ghent','Kyoto','Porto','Turin'] as cities,
         array['free','team','business'] as plans
)
insert into customers
select n,
       firsts[1 + n % 20] || ' ' || lasts[1 + (n / 20) % 10],
       lower(firsts[1 + n % 20] || '.' || lasts[1 + (n / 20) % 10]) || '@example.com',
       cities[1 + n % 7],
       plans[1 + n % 3],
       round(((n * 7919) % 500000) / 100.0, 2),
       timestamptz '2025-01-01 08:00:00+00' + n * interval '37 hours'
from words, generate_series(1, 200) as n;

create index customers_city on customers (city);
analyze customers;
