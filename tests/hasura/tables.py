"""The tables of which Hasura's documentation speaks, with rows of our own, and a configuration that exposes them."""

from __future__ import annotations

from typing import Final

AUTHORS: Final = """
CREATE TABLE authors (id int PRIMARY KEY, name text NOT NULL, first_name text, last_name text, rating int,
  address jsonb, contacts jsonb);
CREATE TABLE articles (id int PRIMARY KEY, author_id int REFERENCES authors, title text, content text, name text,
  publisher text, rating int, is_published boolean, published_on date);
CREATE TABLE likes (id int PRIMARY KEY, article_id int NOT NULL REFERENCES articles, user_id int);
CREATE TABLE passport_info (id int PRIMARY KEY, owner_id int NOT NULL UNIQUE REFERENCES authors, passport_number text);
CREATE TABLE tags (id int PRIMARY KEY, tag_value text UNIQUE);
CREATE TABLE article_tag (id int PRIMARY KEY, article_id int REFERENCES articles, tag_id int REFERENCES tags,
  tagged_at timestamptz, UNIQUE (article_id, tag_id));
CREATE VIEW article_tags_view AS
  SELECT article_id, tags.* FROM article_tag LEFT JOIN tags ON tag_id = tags.id;
CREATE VIEW tag_articles_view AS
  SELECT tag_id, articles.* FROM article_tag LEFT JOIN articles ON article_id = articles.id;
CREATE VIEW author_average_rating AS SELECT author_id, avg(rating) FROM articles GROUP BY author_id;

INSERT INTO authors VALUES
  (1, 'Amina', 'Amina', 'Bobrowski', 3,
   '{"city": "Bengaluru", "pincode": 560095, "phone_numbers": [9090909090, 7], "geo": {"altitude": 920}}',
   '[{"phone": "12"}, {"phone": "34"}]'),
  (2, 'Carlo', 'Carlo', 'Ito', 5, '{"city": "Graz", "phone": "0316", "pincode": 8010}', '{"Hello world!": [1, null]}'),
  (3, 'Sidney', 'Sidney', NULL, NULL, NULL, '[]'),
  (4, 'Mario', 'Mario', 'Ray', 4, '{"phone": null, "street": "BENGALURU Road"}', NULL),
  (5, 'April', NULL, 'Bob', 5, '"bengaluru"', '[[2]]'),
  (6, 'Zoë', 'Zoë', 'Bo', 1, '["phone", "city"]', '{}'),
  (7, 'amos', 'amos', 'X', 4, '{}', 'null');
INSERT INTO articles VALUES
  (1, 1, 'amet at noon', 'one', 'a1', 'North', 5, true, '2017-08-09'),
  (2, 1, 'Calyx emet', 'two', 'a2', NULL, 3, true, '2018-06-10'),
  (3, 1, 'Amet in a capital', 'three', NULL, 'South', 1, false, '2017-05-26'),
  (4, 2, 'GraphQL Tutorial', NULL, 'a4', 'North', 4, true, '2018-01-01'),
  (5, 2, 'dolor', 'five', 'a5', 'East', 4, NULL, NULL),
  (6, 3, 'gamete', 'six', NULL, NULL, 4, true, '2016-12-31'),
  (7, 3, 'gamete', 'seven', 'a7', 'West', NULL, true, '2017-12-31'),
  (8, 5, '', 'eight', 'a8', 'West', 1, false, NULL),
  (9, 5, NULL, 'nine', 'a9', 'East', 2, false, '2017-01-01'),
  (10, 6, 'last', 'ten', 'a10', 'North', 5, NULL, '2018-03-10'),
  (11, NULL, 'nobody''s', 'eleven', 'a11', NULL, 1, true, '2017-08-09');
INSERT INTO likes VALUES (1, 1, 7), (2, 1, 8), (3, 4, 7), (4, 10, NULL);
INSERT INTO passport_info VALUES (1, 2, '987456234'), (2, 1, 'F0004586'), (3, 6, NULL);
INSERT INTO tags VALUES (1, 'mystery'), (2, 'biography'), (3, NULL);
INSERT INTO article_tag VALUES (1, 1, 2, '2018-11-19 18:01:17.292828+05:30'), (2, 1, 1, '2018-11-18 12:00+00'),
  (3, 4, 2, NULL), (4, 10, 3, '2019-01-01 00:00+00');
"""

OTHERS: Final = """
CREATE TABLE users (id int PRIMARY KEY, name text, age int);
CREATE TABLE products (id int PRIMARY KEY, name text, category text, price numeric);
CREATE TABLE employees (id int PRIMARY KEY, name text, department text, salary int);
CREATE TABLE items (id int PRIMARY KEY, name text, tags jsonb);
CREATE TABLE orders (id int PRIMARY KEY, customer_id int, total_price numeric, items jsonb);
CREATE TABLE student (roll_no int PRIMARY KEY, id int, name text, physics int, chemistry int, maths int);
CREATE TABLE restaurant (id int PRIMARY KEY, name text);
CREATE TABLE review (id int PRIMARY KEY, restaurant_id int REFERENCES restaurant, reviewer text, rating float8);

INSERT INTO users VALUES (1, 'John', 20), (2, 'jon smith', 30), (3, '/^JOHN$/I', 41), (4, 'Jane', NULL), (5, NULL, 29);
INSERT INTO products VALUES (1, 'Bread', 'food', 2.50), (2, 'Pan', 'kitchen', 10), (3, 'Milk', 'food', 1.15),
  (4, 'Knife', 'kitchen', 10.01), (5, 'Gift', NULL, NULL);
INSERT INTO employees VALUES (1, 'Bo', 'Product', 2010), (2, 'Kamila', 'Engineering', 4325), (3, 'Li', 'Product', 3124),
  (4, 'Ari', 'Engineering', NULL), (5, 'Eve', NULL, 9), (6, 'Rick', 'Services', 2223);
INSERT INTO items VALUES (1, 'both', '["tag1", "tag2"]'), (2, 'more', '["tag1", "tag3"]'), (3, 'none', '[]'),
  (4, 'object', '{"value": ["tag2"]}'), (5, 'other', '{"value": ["tag9"]}'), (6, 'absent', NULL);
INSERT INTO orders VALUES (1, 7, 10.50, '[{"quantity": 6}]'), (2, 7, 1, '[]'), (3, 8, 4, NULL);
INSERT INTO student VALUES (31, 1, 'Alice', 23, 22, 14), (34, 2, 'Bob', 40, 22, 18), (35, 3, 'Eve', NULL, 1, 1);
INSERT INTO restaurant VALUES (1, 'Noma'), (2, 'Fouquet'), (3, 'Flore'), (4, 'Empty');
INSERT INTO review SELECT n, 1 + n % 2, 'reviewer ' || n % (11 + n % 2), 5 + n % 3 FROM generate_series(1, 60) n;
INSERT INTO review VALUES (61, 3, 'reviewer 1', 9.5), (62, 3, NULL, NULL);
"""

LIVE: Final = """
CREATE TABLE vehicle (id int PRIMARY KEY, vehicle_number text);
CREATE TABLE vehicle_location (id int PRIMARY KEY, location text, time_stamp timestamptz DEFAULT now(),
  vehicle_id int REFERENCES vehicle);
CREATE TABLE "user" (id int PRIMARY KEY, username text UNIQUE, name text, permissions jsonb, address jsonb);
CREATE TABLE message (id int PRIMARY KEY, texts text, time_stamp timestamp DEFAULT now(), user_id int REFERENCES "user");
CREATE TABLE poll (id int PRIMARY KEY, question text);
CREATE TABLE option (id int PRIMARY KEY, poll_id int REFERENCES poll, texts text);
CREATE TABLE vote (id int PRIMARY KEY, option_id int REFERENCES option, user_id int REFERENCES "user", time_stamp timestamp);
CREATE VIEW poll_results AS SELECT poll.id AS poll_id, o.option_id, count(*) AS votes FROM
  (SELECT vote.option_id, option.poll_id FROM vote LEFT JOIN option ON option.id = vote.option_id) o
  LEFT JOIN poll ON poll.id = o.poll_id GROUP BY o.option_id, poll.id;
CREATE TABLE people (id uuid PRIMARY KEY, first_name text, last_name text, created_at timestamptz);
CREATE TABLE messages (id int PRIMARY KEY, from_id uuid REFERENCES people, to_id uuid REFERENCES people, content text,
  status text, created_at timestamptz, group_id int, sender text, reciever text, edited_at timestamptz);

INSERT INTO vehicle VALUES (3, 'KA04AD4583'), (4, 'W-1');
INSERT INTO vehicle_location VALUES (1, '(1,2)', '2018-09-05 06:52:44.383588+00', 3), (2, '(3,4)', '2018-09-05 06:52+00', 3),
  (3, '(5,6)', '2020-01-01 00:00+00', 4);
INSERT INTO "user" VALUES (1, 'Jane', 'Ash', '["admin"]', '{"street": "a", "city": "b", "state": "c", "zip": "d"}'),
  (2, 'Musk', 'Bo', '{"editor": 1}', '{"street": "a", "city": "b"}'), (3, NULL, NULL, '["viewer"]', NULL);
INSERT INTO message VALUES (1, 'Hi!', '2021-11-29 07:38:52.347136', 1), (2, 'Hi! How are you?', '2021-11-29 07:42:19.506049', 2),
  (3, 'nobody', NULL, NULL);
INSERT INTO poll VALUES (1, 'What is your favourite food?'), (2, 'none');
INSERT INTO option VALUES (1, 1, 'Pizza'), (2, 1, 'Salad'), (3, 2, 'no');
INSERT INTO vote VALUES (1, 1, 1, NULL), (2, 2, 2, NULL), (3, 2, 3, NULL), (4, 3, 1, NULL);
INSERT INTO people VALUES ('00000000-0000-0000-0000-000000000001', 'Cindy', NULL, NULL),
  ('00000000-0000-0000-0000-000000000002', 'Michael', NULL, NULL);
INSERT INTO messages SELECT n, ('00000000-0000-0000-0000-00000000000' || 1 + n % 2)::uuid,
  ('00000000-0000-0000-0000-00000000000' || 2 - n % 2)::uuid, 'text ' || n, 'undelivered',
  timestamptz '2021-12-31 23:59:59+00' + n * interval '1s', n % 2, 's' || n, 'r', NULL FROM generate_series(0, 5) n;
"""

TABLES: Final = AUTHORS + OTHERS + LIVE

CONFIG: Final = """
databases: {{main: {{url: '{url}', manage: true}}}}
live: {{interval: 10ms}}
sources:
  authors:
    relationships:
      articles: {{array: articles, on: {{id: author_id}}}}
      passport_info: {{object: passport_info, on: {{id: owner_id}}}}
      avg_rating: {{object: author_average_rating, on: {{id: author_id}}}}
  articles:
    relationships:
      author: {{object: authors, on: {{author_id: id}}}}
      likes: {{array: likes, on: {{id: article_id}}}}
      article_tags: {{array: article_tag, on: {{id: article_id}}}}
      tags: {{array: article_tags_view, on: {{id: article_id}}}}
  likes: {{}}
  passport_info:
    relationships:
      owner: {{object: authors, on: {{owner_id: id}}, required: true}}
  tags:
    relationships:
      tag_articles: {{array: article_tag, on: {{id: tag_id}}}}
      articles: {{array: tag_articles_view, on: {{id: tag_id}}}}
  article_tag:
    relationships:
      tag: {{object: tags, on: {{tag_id: id}}}}
      article: {{object: articles, on: {{article_id: id}}}}
  author_average_rating: {{primary_key: author_id}}
  article_tags_view: {{primary_key: [article_id, id]}}
  tag_articles_view: {{primary_key: [tag_id, id]}}
  # the reference calls the two tables in the singular
  author:
    table: authors
    relationships:
      articles: {{array: article, on: {{id: author_id}}}}
      article: {{array: article, on: {{id: author_id}}}}
  article:
    table: articles
    relationships:
      author: {{object: author, on: {{author_id: id}}}}
      likes: {{array: likes, on: {{id: article_id}}}}
  # what is computed of a row's own columns is a custom field
  named_author: {{table: authors, fields: {{full_name: {{sql: "first_name || ' ' || last_name", type: String}}}}}}
  student: {{fields: {{total_marks: {{sql: physics + chemistry + maths, type: Integer}}}}}}
  users: {{}}
  products: {{}}
  employees: {{}}
  items: {{}}
  orders: {{}}
  restaurant: {{relationships: {{reviews: {{array: review, on: {{id: restaurant_id}}}}}}}}
  review: {{}}
  vehicle: {{relationships: {{locations: {{array: vehicle_location, on: {{id: vehicle_id}}}}}}}}
  vehicle_location: {{}}
  user: {{}}
  message: {{relationships: {{author: {{object: user, on: {{user_id: id}}}}}}}}
  poll: {{}}
  option: {{}}
  vote: {{}}
  poll_results:
    primary_key: [poll_id, option_id]
    relationships:
      poll: {{object: poll, on: {{poll_id: id}}}}
      option: {{object: option, on: {{option_id: id}}}}
  people: {{}}
  messages:
    relationships:
      from: {{object: people, on: {{from_id: id}}}}
      to: {{object: people, on: {{to_id: id}}}}
"""
