// react-admin's Hasura data provider, as its documentation sets it up.
import {createRequire} from "node:module";

import {report} from "./report.mjs";

const require = createRequire(import.meta.url); // its own build is CommonJS
const buildHasuraProvider = require("ra-data-hasura").default;

await report(async (url) => {
  const provider = await buildHasuraProvider({clientOptions: {uri: url}});
  const list = (resource, page, perPage, sort, filter = {}) =>
    provider.getList(resource, {pagination: {page, perPage}, sort, filter});
  const first = await list("instruments", 1, 3, {field: "symbol", order: "ASC"});
  const second = await list("instruments", 2, 3, {field: "symbol", order: "ASC"});
  const filtered = await list("instruments", 1, 50, {field: "symbol", order: "DESC"}, {"symbol@_like": "LDR", "id@_lte": 5});
  const ids = first.data.map((row) => row.id);
  const one = await provider.getOne("instruments", {id: ids[1]});
  const many = await provider.getMany("instruments", {ids});
  const reference = await provider.getManyReference("trades", {
    target: "instrument_id",
    id: ids[0],
    pagination: {page: 1, perPage: 2},
    sort: {field: "id", order: "DESC"},
    filter: {},
  });
  return {first, second, filtered, one, many, reference};
});
