// node run.mjs SITE SCRIPT ARGUMENTS: a file of Python in the Python of a site, in the folder of its notebooks.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";

const [, , site, script, ...words] = process.argv;
const folder = `${resolve(site)}/static/pyodide/`;
const settings = JSON.parse(readFileSync(`${site}/jupyter-lite.json`))["jupyter-config-data"].litePluginSettings;
const { loadPyodideOptions } = settings["@jupyterlite/pyodide-kernel-extension:kernel"];
const env = { HOME: "/home/pyodide", PYTHONPATH: "/drive/notebooks", MPLBACKEND: "agg", SOPHIA_REF_STATIC: "1" };
const { loadPyodide } = await import(`${folder}pyodide.mjs`);
const python = await loadPyodide({ indexURL: folder, env, args: [script, ...words], ...loadPyodideOptions });
python.FS.mkdirTree("/drive");
python.FS.mount(python.FS.filesystems.NODEFS, { root: `${resolve(site)}/files` }, "/drive");
python.FS.chdir("/drive/notebooks");
const code = readFileSync(script, "utf-8");
await python.loadPackagesFromImports(code, { messageCallback() {} }); // as the kernel does for a cell
await python.runPythonAsync(code);
