// Draws docs/screenshots anew.
import { mkdirSync } from "node:fs";

import { World, until } from "./world.mjs";

const FOLDER = "docs/screenshots";
mkdirSync(FOLDER, { recursive: true });
const world = await World.start();
try {
  const shot = async (name, options, height) => {
    const page = await world.open(options);
    const { width } = options.viewport;
    await page.setViewportSize({ width, height });
    await page.waitForTimeout(2500);
    await page.screenshot({ path: `${FOLDER}/${name}.png` });
    await page.context().close();
    console.log(`${FOLDER}/${name}.png`);
  };
  // Rates are over a minute, and sparklines need some polls.
  await new Promise((resolve) => setTimeout(resolve, Number(process.env.SECONDS_BEFORE ?? 65) * 1000));
  const wide = { viewport: { width: 1200, height: 900 } };
  await shot("light", { ...wide, colorScheme: "light" }, 1500);
  await shot("dark", { ...wide, colorScheme: "dark" }, 1500);
  await shot("narrow", { viewport: { width: 380, height: 800 }, colorScheme: "light" }, 1800);
  await world.simulators[0].stop();
  await until("the target to be down", async () => (await world.target("session_buddy/laptop")).up === false);
  await new Promise((resolve) => setTimeout(resolve, 8000));
  await shot("dead-target", { ...wide, colorScheme: "light" }, 1000);
  await shot("dead-target-dark", { ...wide, colorScheme: "dark" }, 1000);
} finally {
  await world.stop();
}
