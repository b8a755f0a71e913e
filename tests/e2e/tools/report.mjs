// Runs one tool against a server and writes what it found as one line of JSON.
//
// usage: node TOOL.mjs URL [FOLDER]   e.g. node refine.mjs http://127.0.0.1:4000/graphql

const TIMEOUT_MS = 60_000;

export async function report(work) {
  const [url, folder] = process.argv.slice(2);
  const timer = setTimeout(() => fail(new Error(`no result within ${TIMEOUT_MS} ms`)), TIMEOUT_MS);
  try {
    const found = await work(url, folder);
    clearTimeout(timer);
    process.stdout.write(`${JSON.stringify(found)}\n`, () => process.exit(0));
  } catch (error) {
    fail(error);
  }
}

function fail(error) {
  process.stderr.write(`${error?.stack ?? ""}\n${JSON.stringify(error)}\n`);
  process.exit(1);
}
