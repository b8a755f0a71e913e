-- The demo's market in a RisingWave: two tables that the seeder writes, and a view that RisingWave keeps.
-- Each statement runs by itself and may run again: what exists is left as it is.

CREATE TABLE IF NOT EXISTS instruments (
  id int PRIMARY KEY,
  symbol varchar,
  name varchar,
  tick numeric,
  base numeric
);

CREATE TABLE IF NOT EXISTS trades (
  id bigint PRIMARY KEY,
  instrument_id int,
  symbol varchar,
  side varchar,
  price numeric,
  quantity int,
  executed_at timestamptz
);

-- What the trades that are kept add up to: one row per instrument that traded.
CREATE MATERIALIZED VIEW IF NOT EXISTS positions AS
SELECT
  t.instrument_id,
  t.symbol,
  t.trades,
  t.quantity,
  l.price AS last_price,
  t.cash + t.quantity * l.price AS profit,
  l.executed_at AS updated_at
FROM (
  SELECT
    instrument_id,
    symbol,
    count(*) AS trades,
    sum(CASE side WHEN 'buy' THEN quantity ELSE -quantity END) AS quantity,
    sum(CASE side WHEN 'buy' THEN -quantity ELSE quantity END * price) AS cash
  FROM trades
  GROUP BY instrument_id, symbol
) AS t
JOIN (
  SELECT instrument_id, price, executed_at
  FROM (
    SELECT *, row_number() OVER (PARTITION BY instrument_id ORDER BY id DESC) AS place
    FROM trades
  ) AS ranked
  WHERE place = 1
) AS l ON l.instrument_id = t.instrument_id;
