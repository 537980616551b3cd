// node run.mjs SITE SCRIPT: run a file of Python with the Python of a site, in the folder of its notebooks.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";

const [site, script] = process.argv.slice(2).map((name) => resolve(name));
const { loadPyodide } = await import(`${site}/static/pyodide/pyodide.mjs`);
const settings = JSON.parse(readFileSync(`${site}/jupyter-lite.json`))["jupyter-config-data"].litePluginSettings;
const options = settings["@jupyterlite/pyodide-kernel-extension:kernel"].loadPyodideOptions;
const python = await loadPyodide({ env: { ...process.env, HOME: "/home/pyodide" }, indexURL: `${site}/static/pyodide/`, ...options });
python.FS.mkdirTree("/drive");
python.FS.mount(python.FS.filesystems.NODEFS, { root: `${site}/files` }, "/drive");
python.FS.chdir("/drive/notebooks");
await python.runPythonAsync(readFileSync(script, "utf-8"));
