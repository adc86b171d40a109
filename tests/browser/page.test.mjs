// Promise: the page tells an operator the truth, within a cycle, on any screen, by mouse, keyboard and screen reader.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { AXE, World, until } from "./world.mjs";

let world;
before(async () => { world = await World.start(); });
after(async () => { await world?.stop(); });

const LAPTOP = "session_buddy/laptop";
const card = (page, id) => page.locator("#targets article").filter({ has: page.getByRole("heading", { name: new RegExp(`^${id}`) }) });
const node = (page, id) => page.locator("#pipelines article").filter({ has: page.getByRole("heading", { name: new RegExp(` ${id}`) }) });

test("the graph shows what /status says", async () => {
  const page = await world.open();
  const { components, edges } = await world.status();
  const drawn = components.filter(({ kind }) => kind !== "extension");
  assert.equal(await page.locator("#pipelines article").count(), drawn.length);
  for (const { id, status } of drawn) {
    assert.match(await node(page, id).locator(".state").innerText(), new RegExp(`^\\S\\s${status}`), id);
  }
  assert.equal(await page.locator(".arrow").count(), edges.length);
  await page.getByText("Everything works.").waitFor();
  assert.deepEqual(page.wrong, []);
  await page.context().close();
});

test("a target that dies turns within one cycle, and turns back", async () => {
  const page = await world.open();
  await world.simulators[0].stop();
  const died = Date.now();
  await card(page, LAPTOP).getByText("down", { exact: false }).first().waitFor({ timeout: 5000 });
  // A cycle is a second, a call gives up after a second, the page is drawn each second.
  assert.ok(Date.now() - died < 4000, `it took ${Date.now() - died} ms`);
  assert.match(await card(page, LAPTOP).innerText(), /Last error/);
  assert.match(await page.locator("#banner").innerText(), /session_buddy\/laptop/);
  assert.match(await page.title(), /^[▲✗]/);
  assert.match(await card(page, "session_buddy/desk").locator(".state").innerText(), /up/);
  world.simulators[0] = world.simulate(world.targets[0]);
  await until("the target", async () => (await world.target(LAPTOP)).up, 60);
  await page.getByText("Everything works.").waitFor();
  assert.deepEqual(page.wrong, []);
  await page.context().close();
});

test("pause asks once, stops polling, looks paused, and can be taken back", async () => {
  const page = await world.open();
  const before = card(page, LAPTOP);
  await before.getByRole("button", { name: "Pause" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByRole("button", { name: "Cancel" }).click();
  assert.equal((await world.target(LAPTOP)).paused, false, "nothing is done where the answer is no");
  await before.getByRole("button", { name: "Pause" }).click();
  await dialog.getByRole("button", { name: "Pause" }).click();
  await before.getByText("paused", { exact: false }).first().waitFor();
  const { poll_cycles: cycles, mood } = await world.target(LAPTOP);
  assert.equal(mood, "paused");
  await new Promise((resolve) => setTimeout(resolve, 2500));
  assert.equal((await world.target(LAPTOP)).poll_cycles, cycles, "it is not polled");
  assert.match(await page.locator("#banner").innerText(), /1 component paused/);
  assert.match(await page.locator("#happened").innerText(), /action_done: pause/);
  await before.getByRole("button", { name: "Resume" }).click();
  await dialog.getByRole("button", { name: "Resume" }).click();
  await until("polls", async () => (await world.target(LAPTOP)).poll_cycles > cycles);
  assert.deepEqual(page.wrong, []);
  await page.context().close();
});

test("a reload that fails is told with the file's line, and what ran goes on", async () => {
  const page = await world.open();
  const reload = async () => {
    await page.getByRole("button", { name: "Reload" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Reload" }).click();
  };
  world.write(world.configuration.replace("verbosity: basic", "verbosity: loud"));
  await reload();
  await page.locator("#reload").getByText("pipeline.yaml:8:", { exact: false }).waitFor();
  await page.locator("#banner").getByText("The last reload failed: what ran before goes on. Everything else works.").waitFor();
  world.write(world.configuration);
  await reload();
  await page.locator("#reload").getByText("unchanged", { exact: false }).waitFor();
  await page.getByText("Everything works.").waitFor();
  // What the browser says of an answer of 422 is no fault of the page.
  assert.deepEqual(page.wrong.filter((text) => !text.includes("422")), []);
  await page.context().close();
});

test("the configuration tells where each value was written", async () => {
  const page = await world.open();
  await page.getByText("what runs, and where each value was written").click();
  const row = page.locator(".settings tr").filter({ hasText: "session_buddy/laptop::interval_seconds" });
  assert.match(await row.innerText(), /1\.0\s+\S*pipeline\.yaml:2:\d+/);
  assert.match(await page.locator(".settings tr").filter({ hasText: "debug::sending_queue::queue_size" }).innerText(), /1000\s+default/);
  await page.context().close();
});

test("every series is there, can be searched, and ends where its target is paused", async () => {
  const page = await world.open();
  const rows = page.locator(".series tbody tr");
  await page.locator("#metrics").scrollIntoViewIfNeeded();
  const { series } = await world.api("metrics");
  assert.ok(series.length > 20, `${series.length}`);
  await until("all rows", async () => (await rows.count()) === series.length);
  await page.getByRole("searchbox").fill(`session_buddy.up server.port=${world.targets[0]}`);
  await until("one row", async () => (await rows.count()) === 1);
  assert.match(await rows.first().innerText(), /session_buddy\.up[\s\S]*gauge\s+1/);
  const act = (name) => world.act({ kind: "receiver", id: LAPTOP, name });
  await act("pause");
  await rows.first().getByText("ended", { exact: false }).waitFor();
  assert.equal((await world.target(LAPTOP)).up, true, "it is not said to be down");
  await act("resume");
  await rows.first().getByText("ended", { exact: false }).waitFor({ state: "detached" });
  assert.equal(await page.getByRole("searchbox").inputValue(), `session_buddy.up server.port=${world.targets[0]}`);
  assert.deepEqual(page.wrong, []);
  await page.context().close();
});

test("axe finds nothing serious, in light and in dark, with a target down and a question open", async () => {
  await world.simulators[1].stop();
  await until("the target to be down", async () => (await world.target("session_buddy/desk")).up === false);
  for (const colorScheme of ["light", "dark"]) {
    // The page's own policy lets nothing else in: axe is put in beside it.
    const page = await world.open({ colorScheme, bypassCSP: true });
    await page.addScriptTag({ path: AXE });
    for (const asked of [false, true]) {
      if (asked) await page.getByRole("button", { name: "Reload" }).click();
      const { violations } = await page.evaluate(() => window.axe.run());
      const serious = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
      const told = serious.map(({ id, nodes }) => `${id}: ${nodes.map((one) => one.html.slice(0, 120)).join(" | ")}`);
      assert.deepEqual(told, [], `${colorScheme}, question ${asked}`);
    }
    await page.context().close();
  }
  world.simulators[1] = world.simulate(world.targets[1]);
  await until("the target", async () => (await world.target("session_buddy/desk")).up, 60);
});

test("from 380 px to a wide screen nothing is cut off and nothing scrolls sideways", async () => {
  for (const width of [380, 700, 1000, 1200, 1920]) {
    const page = await world.open({ viewport: { width, height: 800 } });
    const [wide, seen] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
    assert.ok(wide <= seen, `the page: ${wide} > ${seen}`);
    const graph = await page.evaluate(() => [...document.querySelectorAll(".graph")].map((one) => one.scrollWidth - one.clientWidth));
    assert.ok(graph.every((beyond) => beyond <= 1), `the graph at ${width} px: ${graph}`);
    await page.context().close();
  }
});

test("narrow and wide, what is down, since when and why is the first that one sees, and nothing of it is cut off", async () => {
  await world.simulators[1].stop();
  await until("every breaker to be open", async () => {
    const breakers = Object.values((await world.target("session_buddy/desk")).breakers);
    return breakers.length > 0 && breakers.every(({ state, open_until: until }) => state === "open" && until > 0);
  });
  for (const width of [380, 1000, 1200, 1920]) {
    const page = await world.open({ viewport: { width, height: 800 } });
    const banner = page.locator("#banner");
    assert.match(await banner.innerText(), /session_buddy\/desk is down\.[^]*session_buddy\/desk, (for \d+|now)[^]*Connection refused[^]*lost since the start/, `${width}`);
    const { y, height } = await banner.boundingBox();
    assert.ok(y + height <= 800, `the whole answer is on the first screen at ${width} px: ${y} + ${height}`);
    const desk = card(page, "session_buddy/desk");
    await desk.getByText(/open, (\d+ s left|probe due)/).first().waitFor();
    await desk.getByRole("button", { name: "Close all breakers" }).waitFor();
    // Each breaker has its state and its button on one line.
    const lines = await desk.locator("td.breaker").evaluateAll((cells) => cells.map((cell) => {
      const tops = [...cell.childNodes].filter((one) => one.textContent.trim() !== "").map((one) => {
        const place = document.createRange();
        place.selectNodeContents(one);
        const { top, height } = place.getBoundingClientRect();
        return top + height / 2;
      });
      return Math.max(...tops) - Math.min(...tops);
    }));
    assert.ok(lines.length >= 4 && lines.every((apart) => apart < 8), `the breakers at ${width} px: ${lines}`);
    const beyond = await page.evaluate(() => [document.documentElement, ...document.querySelectorAll(".graph, .cards .scroll")].map((one) => one.scrollWidth - one.clientWidth));
    assert.ok(beyond.every((pixels) => pixels <= 1), `at ${width} px: ${beyond}`);
    assert.deepEqual(page.wrong, []);
    await page.context().close();
  }
  world.simulators[1] = world.simulate(world.targets[1]);
  await until("the target", async () => (await world.target("session_buddy/desk")).up, 60);
});

test("everything can be reached and done by keyboard, and the focus stays where it is", async () => {
  const page = await world.open();
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
  const button = card(page, LAPTOP).getByRole("button", { name: "Poll now" });
  for (let tabs = 0; tabs < 60 && !(await button.evaluate((one) => one === document.activeElement)); tabs += 1) {
    await page.keyboard.press("Tab");
  }
  const id = await page.evaluate(() => document.activeElement.id);
  assert.match(id, /^act-target-/);
  await new Promise((resolve) => setTimeout(resolve, 2500));
  assert.equal(await page.evaluate(() => document.activeElement.id), id, "though the card is drawn anew");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "ask-no", "the harmless answer has the focus");
  await page.keyboard.press("Escape");
  assert.equal(await page.evaluate(() => document.activeElement.id), id);
  await page.keyboard.press("Enter");
  await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("Enter");
  await page.locator("#said").getByText("is up", { exact: false }).waitFor();
  await page.context().close();
});

test("without its script the page stands as it was, with times", async () => {
  const page = await (await world.browser.newContext({ javaScriptEnabled: false })).newPage();
  await page.goto(world.url);
  assert.match(await page.locator("#banner").innerText(), /minicol runs since \d{4}-\d{2}-\d{2}T/);
  await page.context().close();
});

test("a reload shows in the open configuration and among the events, and adds to what is drawn without taking away what a person does", async () => {
  const page = await world.open();
  const reload = async () => {
    await page.getByRole("button", { name: "Reload" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Reload" }).click();
  };
  await page.getByText("what runs, and where each value was written").click();
  const setting = (path) => page.locator(".settings tr").filter({ hasText: path });
  world.write(world.configuration.replace("verbosity: basic", "verbosity: normal"));
  await reload();
  await setting("debug::verbosity").getByText("normal").waitFor();
  const happened = page.locator("#happened tr");
  await happened.filter({ hasText: "config_reloaded: replaced: exporter debug" }).first().waitFor();
  await happened.filter({ hasText: "action_done: reload: replaced: exporter debug" }).first().waitFor();
  world.write(world.configuration.replace("verbosity: basic", "verbosity: loud"));
  await reload();
  await happened.filter({ hasText: /config_reload_failed: \S*pipeline\.yaml:8:/ }).first().waitFor();

  await page.getByText("look at what passes an arrow, live").click();
  const edge = "metrics:mapping->debug";
  await page.locator("#tap-edge").selectOption(edge);
  await page.locator("#tap-state").getByText("live").waitFor();
  await page.getByRole("searchbox").fill("session_buddy.up");
  await page.evaluate(() => { window.before = true; });
  const grown = world.configuration
    .replace("  debug: {verbosity: basic}", "  debug: {verbosity: basic}\n  debug/second: {verbosity: basic}")
    .replace("exporters: [debug]", "exporters: [debug, debug/second]");
  world.write(grown);
  await reload();
  await node(page, "debug/second").waitFor();
  assert.equal(await page.evaluate(() => window.before), undefined, "it was drawn anew");
  await page.locator("#said").getByText("added: exporter debug/second", { exact: false }).waitFor();
  await page.locator("#tap-state").getByText("live").waitFor();
  assert.equal(await page.locator("#tap-edge").inputValue(), edge);
  await page.locator("#tap-shown").getByText("session_buddy", { exact: false }).waitFor();
  assert.equal(await page.getByRole("searchbox").inputValue(), "session_buddy.up");
  const rows = page.locator(".series tbody tr");
  await page.locator("#metrics").scrollIntoViewIfNeeded();
  await until("what is searched", async () => (await rows.count()) > 0 && (await rows.allInnerTexts()).every((row) => row.includes("session_buddy.up")));
  assert.equal(await page.locator("#configuration details").evaluate((one) => one.open), true);
  world.write(world.configuration);
  await reload();
  await node(page, "debug/second").waitFor({ state: "detached" });
  assert.deepEqual(page.wrong.filter((text) => !text.includes("422")), []);
  await page.context().close();
});

test("a breaker is closed in its tool's row, by its whole name", async () => {
  await world.simulators[1].stop();
  const open = async () => Object.entries((await world.target("session_buddy/desk")).breakers).filter(([, { state }]) => state !== "closed").map(([tool]) => tool);
  await until("every breaker to be open", async () => (await open()).length > 1);
  const page = await world.open();
  const button = card(page, "session_buddy/desk").getByRole("button", { name: /^Close breaker get_/ }).first();
  await button.waitFor();
  assert.equal((await button.innerText()).trim(), "Close");
  await button.click();
  const dialog = page.getByRole("dialog");
  await dialog.getByRole("heading", { name: /^Close breaker get_/ }).waitFor();
  await dialog.getByRole("button", { name: /^Close breaker/ }).click();
  await page.locator("#said").getByText("is asked in every cycle", { exact: false }).waitFor();
  world.simulators[1] = world.simulate(world.targets[1]);
  await until("the target", async () => (await world.target("session_buddy/desk")).up, 60);
  await page.context().close();
});

test("what is read out is read out when it changes, and not each second", async () => {
  const page = await world.open();
  await page.evaluate(() => {
    window.heard = 0;
    const told = new MutationObserver((changes) => { window.heard += changes.length; });
    window.verdict = document.querySelector(".verdict");
    for (const one of [document.getElementById("link"), window.verdict]) told.observe(one, { childList: true, characterData: true, subtree: true });
  });
  await new Promise((resolve) => setTimeout(resolve, 3500));
  assert.equal(await page.evaluate(() => window.heard), 0);
  await world.act({ kind: "receiver", id: LAPTOP, name: "pause" });
  await page.locator(".verdict").getByText("1 component paused").waitFor();
  assert.equal(await page.evaluate(() => window.verdict === document.querySelector(".verdict")), true, "it is the same element");
  assert.ok((await page.evaluate(() => window.heard)) > 0);
  await world.act({ kind: "receiver", id: LAPTOP, name: "resume" });
  await page.getByText("Everything works.").waitFor();
  await page.context().close();
});

test("a link to a node is copied", async () => {
  const page = await world.open({ permissions: ["clipboard-read", "clipboard-write"] });
  await node(page, "mapping").getByRole("link", { name: "copy a link" }).click();
  await page.locator("#said").getByText("copied", { exact: false }).waitFor();
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  assert.equal(copied, `${world.url}#node-metrics-processor-mapping`);
  await page.context().close();
});

test("a minicol that ends is told, not shown as well", async () => {
  const page = await world.open();
  await world.program.stop();
  await page.getByText("no answer from minicol", { exact: false }).waitFor();
  await page.context().close();
});
