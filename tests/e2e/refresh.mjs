// graphql-ws refreshes its token on the open socket, as docs/sessions.md says.
//
// usage: node refresh.mjs URL OLD NEW OTHER   (three tokens; OTHER sees other rows)
import {createClient} from "graphql-ws";
import WebSocket from "ws";

const [url, old, renewed, other] = process.argv.slice(2);
const said = [];
const waiting = [];
let socket;
const say = (what) => {
  said.push(what);
  waiting.splice(0).forEach((wake) => wake());
};
async function until(found) {
  while (!said.some(found)) await new Promise((wake) => waiting.push(wake));
}

let token = old;
const client = createClient({
  url: url.replace(/^http/, "ws"),
  webSocketImpl: WebSocket,
  connectionParams: () => ({headers: {Authorization: `Bearer ${token}`}}),
  retryAttempts: 0,
  on: {
    connected: (opened) => { socket = opened; say({connected: true}); },
    pong: (received, payload) => say({pong: payload ?? null, received}),
    closed: ({code, reason}) => say({closed: code, reason}),
  },
});
const refresh = (shown) => {
  token = shown;
  socket.send(JSON.stringify({type: "ping", payload: {headers: {Authorization: `Bearer ${token}`}}}));
};
const subscribe = (name, query) =>
  client.subscribe({query}, {
    next: ({data}) => say({name, data}),
    error: (errors) => say({name, code: errors[0]?.extensions?.code ?? String(errors.reason ?? errors)}),
    complete: () => say({name, complete: true}),
  });

const timer = setTimeout(() => { process.stderr.write(`${JSON.stringify(said)}\n`); process.exit(1); }, 30_000);
subscribe("mine", "subscription {items(order_by: {id: asc}) {id}}");
const end = subscribe("all", "subscription {notes {id}}");
await until((each) => each.name === "mine" && each.data);
await until((each) => each.name === "all" && each.data);
refresh(renewed);
await until((each) => each.pong?.authenticated === true);
process.stdout.write("renewed\n"); // the old one may end now
await until((each) => each.name === "all" && each.data?.notes.length === 2);
refresh(other);
await until((each) => each.name === "mine" && each.code);
await until(() => said.filter((each) => each.pong).length === 2);
refresh(old);
await until((each) => each.pong?.authenticated === false);
end();
await client.dispose();
clearTimeout(timer);
process.stdout.write(`${JSON.stringify(said)}\n`);
