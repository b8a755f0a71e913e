// graphql-codegen with typescript and typescript-operations, over the introspected schema; then the TypeScript compiler.
import {readFileSync, writeFileSync} from "node:fs";
import {join} from "node:path";

import {codegen} from "@graphql-codegen/core";
import * as typescript from "@graphql-codegen/typescript";
import * as operations from "@graphql-codegen/typescript-operations";
import {buildClientSchema, getIntrospectionQuery, parse, printSchema, validate} from "graphql";
import ts from "typescript";

import {report} from "./report.mjs";

const USE = `
import type {InstrumentListQuery, LivePositionsSubscription, TradeChangesSubscription} from "./schema";
export function symbols(data: InstrumentListQuery): string[] {
  return data.instruments.map((row) => row.symbol);
}
export function side(data: InstrumentListQuery): "buy" | "sell" | null | undefined {
  return data.instruments[0]?.trades[0]?.side;
}
export function price(data: LivePositionsSubscription): string {
  return data.positions[0].last_price;
}
export function operation(data: TradeChangesSubscription): "insert" | "update" | "delete" {
  return data.trades_changes.changes[0].operation;
}
// @ts-expect-error: a column that was not selected
export const wrong = (data: InstrumentListQuery) => data.instruments[0].tick;
`;

await report(async (url, folder) => {
  const response = await fetch(url, {
    method: "POST",
    headers: {"content-type": "application/json"},
    body: JSON.stringify({query: getIntrospectionQuery()}),
  });
  const schema = buildClientSchema((await response.json()).data);
  const document = parse(readFileSync(new URL("operations.graphql", import.meta.url), "utf8"));
  const invalid = validate(schema, document).map((error) => error.message);
  const written = await codegen({
    filename: "schema.ts",
    schema: parse(printSchema(schema)),
    documents: [{location: "operations.graphql", document}],
    config: {enumsAsTypes: true, scalars: {bigint: "string", numeric: "string", timestamptz: "string"}, strictScalars: false},
    plugins: [{typescript: {}}, {operations: {}}],
    pluginMap: {typescript, operations},
  });
  const files = [join(folder, "schema.ts"), join(folder, "use.ts")];
  writeFileSync(files[0], written);
  writeFileSync(files[1], USE);
  const program = ts.createProgram(files, {strict: true, noEmit: true, skipLibCheck: true, types: [], target: ts.ScriptTarget.ES2022});
  const mistakes = ts.getPreEmitDiagnostics(program).map((each) => ts.flattenDiagnosticMessageText(each.messageText, " "));
  return {invalid, mistakes, lines: written.split("\n").length};
});
