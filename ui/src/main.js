// GraphiQL against the server that sent this page: queries by POST, subscriptions by graphql-transport-ws.
import 'graphiql/setup-workers/vite';
import 'graphiql/style.css';
import './page.css';
import { createElement } from 'react';
import { createRoot } from 'react-dom/client';
import { createGraphiQLFetcher } from '@graphiql/toolkit';
import { parse } from 'graphql';
import { createClient } from 'graphql-ws';
import { GraphiQL } from 'graphiql';

const url = new URL('/graphql', location.href);
const socket = new URL(url);
socket.protocol = url.protocol.replace('http', 'ws');
// A socket greets with the headers of the editor, as a POST has them: other headers are another socket.
const fetchers = new Map();
function fetcher(parameters, options) {
  const headers = options?.headers ?? {};
  const key = JSON.stringify(headers);
  if (!fetchers.has(key)) {
    const wsClient = createClient({
      url: socket.href,
      lazy: true,
      connectionParams: { headers },
      // refused credentials are shown at once, not tried again
      shouldRetry: (problem) => problem instanceof CloseEvent && problem.code !== 4403,
    });
    fetchers.set(key, createGraphiQLFetcher({ url: url.href, wsClient }));
  }
  return fetchers.get(key)(...told(parameters, options));
}

// What is a subscription is told by the document itself: GraphiQL knows it only a while after an edit, and never
// without a schema, which there is none of before the headers have credentials.
function told(parameters, options) {
  let documentAST;
  try {
    documentAST = parse(parameters.query);
  } catch {
    return [parameters, options]; // the server says what is wrong with it
  }
  const operations = documentAST.definitions.filter((each) => each.kind === 'OperationDefinition');
  const only = operations.length === 1 ? operations[0].name?.value : undefined;
  const operationName = parameters.operationName ?? only;
  return [operationName ? { ...parameters, operationName } : parameters, { ...options, documentAST }];
}

const FALLBACK = '# Queries, live queries and change feeds: the schema is on the left.\n';

const examples = await fetch('/graphiql-examples.json')
  .then((response) => (response.ok ? response.json() : []))
  .catch(() => []);
createRoot(document.getElementById('root')).render(
  createElement(GraphiQL, {
    fetcher,
    defaultQuery: examples[0] ?? FALLBACK,
    defaultTabs: examples.length ? examples.map((query) => ({ query })) : undefined,
  }),
);
