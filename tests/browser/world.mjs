// The real program, a simulated Session-Buddy, and a browser.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const { MODULES, CHROMIUM, MINICOL } = process.env;
const require = createRequire(join(MODULES, "package.json"));
const { chromium } = require("playwright-core");
export const AXE = require.resolve("axe-core/axe.min.js");

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** Asks again until `holds` gives something true, for at most `seconds`. */
export async function until(what, holds, seconds = 30) {
  const end = Date.now() + seconds * 1000;
  let last;
  while (Date.now() < end) {
    try {
      const value = await holds();
      if (value) return value;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`${what} did not come within ${seconds} s${last ? `: ${last.message}` : ""}`);
}

class Program {
  constructor(args) {
    this.child = spawn(MINICOL, args, { stdio: ["ignore", "ignore", "pipe"] });
    this.stderr = "";
    this.child.stderr.on("data", (data) => { this.stderr += data; });
    this.ended = new Promise((resolve) => this.child.once("exit", resolve));
  }

  async stop() {
    this.child.kill("SIGTERM");
    return this.ended;
  }
}

/** minicol with its page, and two simulated targets that it polls each second. */
export class World {
  static async start({ actions = true } = {}) {
    const world = new World();
    world.folder = mkdtempSync(join(tmpdir(), "minicol-browser-"));
    [world.page, world.health, ...world.targets] = await Promise.all([...Array(4)].map(freePort));
    world.simulators = world.targets.map((port) => world.simulate(port));
    const poller = (port) =>
      `{endpoint: 'http://127.0.0.1:${port}/mcp', interval_seconds: 1, timeout_seconds: 1, max_retries: 0}`;
    world.file = join(world.folder, "pipeline.yaml");
    world.configuration = `receivers:
  session_buddy/laptop: ${poller(world.targets[0])}
  session_buddy/desk: ${poller(world.targets[1])}
processors:
  memory_limiter: {limit_mib: 512}
  mapping: {presets: [session_buddy]}
exporters:
  debug: {verbosity: basic}
extensions:
  health_check: {endpoint: '127.0.0.1:${world.health}'}
  status_page: {endpoint: '127.0.0.1:${world.page}', actions: ${actions}}
service:
  telemetry: {metrics: {level: none}}
  extensions: [health_check, status_page]
  pipelines:
    metrics: {receivers: [session_buddy/laptop, session_buddy/desk], processors: [memory_limiter, mapping], exporters: [debug]}
`;
    world.write(world.configuration);
    world.program = new Program(["run", "--config", world.file]);
    await until("both targets", async () => {
      const targets = await world.api("targets");
      return targets.length === 2 && targets.every((target) => target.up === true);
    });
    world.browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
    return world;
  }

  simulate(port) {
    return new Program(["simulate", "--port", String(port)]);
  }

  write(configuration) {
    writeFileSync(this.file, configuration);
  }

  get url() {
    return `http://127.0.0.1:${this.page}/`;
  }

  async api(path) {
    return (await fetch(`${this.url}api/v1/${path}`)).json();
  }

  async act(action) {
    const headers = { "content-type": "application/json", "x-requested-by": "test" };
    const answer = await fetch(`${this.url}api/v1/actions`, { method: "POST", headers, body: JSON.stringify(action) });
    if (!answer.ok) throw new Error(await answer.text());
  }

  async status() {
    return (await fetch(`http://127.0.0.1:${this.health}/status`)).json();
  }

  async target(id) {
    return (await this.api("targets")).find((target) => target.id === id);
  }

  /** A page that is live, and everything that went wrong in it. */
  async open(options = {}) {
    const context = await this.browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
    const page = await context.newPage();
    page.wrong = [];
    page.on("console", (message) => { if (message.type() === "error") page.wrong.push(message.text()); });
    page.on("pageerror", (error) => page.wrong.push(error.message));
    await page.goto(this.url);
    await page.getByText("● live").waitFor();
    return page;
  }

  async stop() {
    await this.browser?.close();
    await Promise.all([this.program, ...this.simulators].map((one) => one?.stop()));
    rmSync(this.folder, { recursive: true, force: true });
  }
}
