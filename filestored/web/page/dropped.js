// Files that are dropped or chosen, also whole folders. Each is returned as `{ file, name }`; the name of a file in
// a folder is its path.

/** Return the files of an input for files or for a folder. */
export const files_of_input = (input) =>
  [...input.files].map((file) => ({ file, name: file.webkitRelativePath || file.name }));

/**
 * Return the files of a drop or of the clipboard, those in folders included, and how many could not be read.
 * To be called in the event: later the browser has nothing to give.
 */
export async function files_of_transfer(transfer) {
  const items = [...transfer.items].filter((item) => item.kind === "file");
  const entries = items.map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile()).filter(Boolean);
  const found = { files: [], unreadable: 0, has_folder: entries.some((entry) => entry.isDirectory) };
  for (const entry of entries) await collect(entry, found);
  return found;
}

async function collect(entry, found) {
  if (entry instanceof File) return found.files.push({ file: entry, name: entry.name });
  try {
    if (entry.isDirectory) {
      for (const child of await read_folder(entry)) await collect(child, found);
    } else {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      found.files.push({ file, name: entry.fullPath.replace(/^\//, "") });
    }
  } catch {
    found.unreadable += 1;
  }
}

/** Return all entries of a folder. Browsers hand them out a hundred at a time, until none is left. */
async function read_folder(folder) {
  const reader = folder.createReader();
  const entries = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return entries.sort((one, other) => (one.name < other.name ? -1 : 1));
    entries.push(...some);
  }
}

const IMAGE_ENDINGS = /\.(avif|bmp|exr|gif|heic|heif|jpe?g|pbm|pgm|png|ppm|ras|rgb|tiff?|webp|xbm)$/i;

/** Return true for a file that looks like an image by its type or its name. */
export const looks_like_image = ({ file, name }) => file.type.startsWith("image/") || IMAGE_ENDINGS.test(name);
