// A small client of the graphql-transport-ws protocol: one socket, several subscriptions, reconnects by itself.
//
// A real application would use graphql-ws, Apollo Client or urql; this one shows that nothing more is needed.

const FIRST_DELAY_MS = 250;
const MAX_DELAY_MS = 8000;
const ACK_TIMEOUT_MS = 10000;
// The server refuses the client itself: trying again with the same words cannot help.
const FATAL = new Set([4004, 4005, 4400, 4401, 4403, 4406, 4409, 4429]);

export class Client {
  // onState is called with "connecting", "live" or "offline", and a reason.
  constructor(url, onState) {
    this.url = url;
    this.onState = onState;
    this.operations = new Map();
    this.nextId = 1;
    this.failures = 0;
    this.ready = false;
    this.connect();
  }

  // make() gives {query, variables} and is asked again after every reconnect, so that it can add a cursor.
  // Gives a function that ends the subscription.
  subscribe(make, {next, error}) {
    const operation = {make, next, error};
    this.start(operation);
    return () => {
      if (this.operations.delete(operation.id) && this.ready) this.send({id: operation.id, type: "complete"});
    };
  }

  start(operation) {
    // A fresh id each time: a late message of an ended operation can never be taken for the new one's.
    operation.id = String(this.nextId++);
    this.operations.set(operation.id, operation);
    if (this.ready) this.send({id: operation.id, type: "subscribe", payload: operation.make()});
  }

  send(message) {
    this.socket.send(JSON.stringify(message));
  }

  connect() {
    this.onState("connecting", this.failures ? `attempt ${this.failures + 1}` : "");
    const socket = new WebSocket(this.url, "graphql-transport-ws");
    this.socket = socket;
    const timer = setTimeout(() => socket.close(), ACK_TIMEOUT_MS);
    socket.onopen = () => this.send({type: "connection_init", payload: {}});
    socket.onmessage = (event) => {
      const message = JSON.parse(event.data);
      if (message.type === "connection_ack") clearTimeout(timer);
      this.receive(message);
    };
    socket.onclose = (event) => {
      clearTimeout(timer);
      this.ready = false;
      if (FATAL.has(event.code)) return this.onState("offline", `${event.code} ${event.reason}`);
      // Full jitter, so that a thousand pages do not come back in the same moment.
      const delay = Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** this.failures++) * (0.5 + Math.random() / 2);
      this.onState("offline", event.reason || "connection lost");
      setTimeout(() => this.connect(), delay);
    };
  }

  receive(message) {
    if (message.type === "ping") return this.send({type: "pong"});
    if (message.type === "connection_ack") {
      this.ready = true;
      this.failures = 0;
      this.onState("live", "");
      const waiting = [...this.operations.values()];
      this.operations.clear();
      waiting.forEach((operation) => this.start(operation));
      return;
    }
    const operation = this.operations.get(message.id);
    if (!operation) return;
    if (message.type === "next") {
      const {data, errors} = message.payload;
      if (errors) operation.error(errors);
      if (data) operation.next(data);
    } else if (message.type === "error") {
      this.operations.delete(message.id);
      operation.error(message.payload);
    } else if (message.type === "complete") {
      this.operations.delete(message.id);
    }
  }
}

// Folds the sets of a change feed (phases snapshot, ready, live and reset) into a snapshot and changes.
//
// onSnapshot(rows) is called once a snapshot is whole, onChanges(changes) for every later set. What was shown
// before a reset may stay on the screen until the next onSnapshot.
export class ChangeFeed {
  constructor({onSnapshot, onChanges}) {
    this.onSnapshot = onSnapshot;
    this.onChanges = onChanges;
    this.cursor = null;
    this.rows = null;
  }

  apply(set) {
    this.cursor = set.cursor ?? this.cursor;
    if (set.phase === "reset") {
      this.rows = [];
    } else if (set.phase === "live") {
      if (set.changes.length) this.onChanges(set.changes);
    } else {
      this.rows ??= [];
      for (const change of set.changes) this.rows.push(change.row);
      if (set.phase === "ready") {
        this.onSnapshot(this.rows);
        this.rows = null;
      }
    }
  }

  // A broken connection cuts a snapshot short: what came of it is void, the next one starts anew.
  restarted() {
    this.rows = null;
    return this.cursor;
  }
}
