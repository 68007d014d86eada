"""Images: MNIST from a folder, a cache or a server on localhost; the user's own; and what dequantizing them costs."""

import gzip
import hashlib
import importlib
import os
import struct
import sys
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pooch
import pytest
import torch
from PIL import Image

import pushforward as pf
from pushforward.errors import InputError, RunError

mnist_module = importlib.import_module("pushforward.data.mnist")

real_files = pytest.mark.skipif(
    not os.path.isdir(os.path.join(os.environ.get("PUSHFORWARD_DATA", ""), "mnist")),
    reason="the files of MNIST are not here (set PUSHFORWARD_DATA to the folder around them)",
)


# ---- MNIST ----------------------------------------------------------------------------------------------------------


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def contents(monkeypatch, tmp_path):
    """30 training and 10 test images of noise under the names of MNIST's files; the cache is a folder of the test's."""
    random = np.random.default_rng(0)
    arrays = [
        random.integers(0, 256, (30, 28, 28), np.uint8),
        np.arange(30, dtype=np.uint8) % 10,
        random.integers(0, 256, (10, 28, 28), np.uint8),
        np.arange(10, dtype=np.uint8),
    ]
    named = {name: idx(array) for name, array in zip(mnist_module.FILES, arrays, strict=True)}
    checksums = {name: hashlib.sha256(value).hexdigest() for name, value in named.items()}
    monkeypatch.setattr(mnist_module, "FILES", checksums)
    monkeypatch.setattr(mnist_module, "MIRRORS", ())
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    monkeypatch.delenv("PUSHFORWARD_DATA", raising=False)
    return named


@pytest.fixture
def served(monkeypatch):
    """A dict of path -> (status, bytes, length announced) behind a server on localhost, its address and its log."""
    answers, log = {}, []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            log.append(self.path)
            status, body, length = answers.get(self.path, (404, b"", 0))
            self.send_response(status)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield answers, log, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def serve(answers, contents, mirror="", *, change=lambda packed: packed, status=200):
    for name, value in contents.items():
        packed = gzip.compress(value, mtime=0)
        answers[f"{mirror}/{name}.gz"] = (status, change(packed), len(packed))


def test_a_download_is_right_and_kept(contents, served, monkeypatch):
    answers, log, address = served
    monkeypatch.setattr(mnist_module, "MIRRORS", (address,))
    serve(answers, contents)
    first, again = (pf.data.mnist(validation=10) for _ in range(2))
    assert len(log) == 4, "the second time nothing is downloaded"
    names = list(contents)
    images = torch.frombuffer(bytearray(contents[names[0]][16:]), dtype=torch.uint8).reshape(30, 784)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    assert torch.equal(first.validation.x, images[order[:10]])
    assert torch.equal(first.train.x, images[order[10:]])
    assert torch.equal(first.train.labels, order[10:] % 10)
    assert first.test.x.flatten().tolist() == list(contents[names[2]][16:])
    assert first.test.labels.tolist() == list(range(10))
    assert all(torch.equal(part.x, other.x) for part, other in zip(first, again, strict=True))
    assert not torch.equal(pf.data.mnist(validation=10, seed=1).validation.x, first.validation.x)


def damaged(packed):
    return packed[:-20] + bytes(byte ^ 255 for byte in packed[-20:-12]) + packed[-12:]


CHANGES = {
    "damaged": (damaged, "is damaged or cut short"),
    "another file": (lambda packed: gzip.compress(b"other").ljust(len(packed), b"\0"), "has another checksum"),
    "half of it, the connection lost": (lambda packed: packed[: len(packed) // 2], "lost on the way"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_wrong_download_is_refused_and_not_kept(kind, contents, served, monkeypatch, tmp_path):
    answers, _, address = served
    monkeypatch.setattr(mnist_module, "MIRRORS", (address,))
    change, reason = CHANGES[kind]
    serve(answers, contents, change=change)
    with pytest.raises(RunError, match=reason):
        pf.data.mnist(validation=10)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("kind", [*CHANGES, "an error", "down"])
def test_a_mirror_that_fails_is_followed_by_the_next(kind, contents, served, monkeypatch):
    answers, log, address = served
    first = "http://127.0.0.1:1" if kind == "down" else f"{address}/first"
    monkeypatch.setattr(mnist_module, "MIRRORS", (first, f"{address}/second"))
    change, status = (CHANGES[kind][0], 200) if kind in CHANGES else (lambda packed: packed, 500)
    serve(answers, contents, "/first", change=change, status=status)
    serve(answers, contents, "/second")
    assert len(pf.data.mnist(validation=10).test.x) == 10
    assert len(log) == (4 if kind == "down" else 8)


def test_without_any_mirror_the_error_names_files_mirrors_and_remedy(contents, served, monkeypatch):
    _, _, address = served
    monkeypatch.setattr(mnist_module, "MIRRORS", (address, "http://127.0.0.1:1"))
    with pytest.raises(RunError) as caught:
        pf.data.mnist(validation=10)
    message = str(caught.value)
    assert all(f"{name}.gz" in message for name in contents)
    assert f"{address}: 404" in message
    assert "http://127.0.0.1:1: no connection" in message
    assert "set PUSHFORWARD_DATA" in message


def test_a_damaged_file_in_the_cache_is_downloaded_again(contents, served, monkeypatch, tmp_path):
    answers, log, address = served
    monkeypatch.setattr(mnist_module, "MIRRORS", (address,))
    serve(answers, contents)
    pf.data.mnist(validation=10)
    kept = next(tmp_path.rglob("t10k-images*"))
    kept.write_bytes(kept.read_bytes()[:-50])
    pf.data.mnist(validation=10)
    assert log[4:] == ["/t10k-images-idx3-ubyte.gz"]


@pytest.mark.parametrize("packed", [True, False])
def test_the_users_folder_comes_first(packed, contents, monkeypatch, tmp_path):
    folder = tmp_path / "mine" / "mnist"
    folder.mkdir(parents=True)
    for name, value in contents.items():
        (folder / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(value) if packed else value)
    monkeypatch.setenv("PUSHFORWARD_DATA", str(tmp_path / "mine"))
    assert [len(part.x) for part in pf.data.mnist(validation=10)] == [20, 10, 10]
    assert not (tmp_path / "cache").exists()


def test_a_file_of_the_users_that_is_not_mnists_is_named(contents, monkeypatch, tmp_path):
    path = tmp_path / "mnist" / "train-images-idx3-ubyte.gz"
    path.parent.mkdir()
    path.write_bytes(gzip.compress(b"something else"))
    monkeypatch.setenv("PUSHFORWARD_DATA", str(tmp_path))
    monkeypatch.setattr(mnist_module, "MIRRORS", ("http://127.0.0.1:1",))
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte.gz: has another checksum, so it is not MNIST's"):
        pf.data.mnist()


def test_a_folder_that_is_not_there_is_refused(contents, monkeypatch, tmp_path):
    monkeypatch.setenv("PUSHFORWARD_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="PUSHFORWARD_DATA: .*nowhere is no folder"):
        pf.data.mnist()


@pytest.mark.parametrize(("package", "call"), [("pooch", pf.data.mnist), ("PIL", lambda: pf.data.mnist_sample(size=8))])
def test_a_missing_package_is_named(package, call, contents, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=r'pip install "pushforward\[studies\]"'):
        call()


def test_pillow_is_missed_before_anything_is_read(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setattr(mnist_module, "_contents", lambda name: pytest.fail("was read"))
    with pytest.raises(InputError, match="reducing MNIST's images needs pillow"):
        pf.data.mnist(size=8)


@pytest.mark.parametrize("size", [0, 29, 8.0])
def test_sizes_that_mnist_has_not_are_refused(size):
    with pytest.raises(InputError, match="size, in pixels, must be an integer from 1 to 28"):
        pf.data.mnist_sample(size=size)


@pytest.mark.parametrize("validation", [0, 30, 0.2])
def test_validation_parts_that_leave_nothing_are_refused(validation, contents, served, monkeypatch):
    answers, _, address = served
    monkeypatch.setattr(mnist_module, "MIRRORS", (address,))
    serve(answers, contents)
    with pytest.raises(InputError, match="validation, in images, must be an integer from 1 to 29"):
        pf.data.mnist(validation=validation)


def test_the_sample_has_as_many_images_of_every_label():
    sample = pf.data.mnist_sample()
    assert [part.labels.bincount().tolist() for part in sample] == [[40] * 10, [10] * 10, [10] * 10]
    assert all(part.x.shape == (len(part.labels), 784) and part.x.dtype == torch.uint8 for part in sample)
    assert len(torch.cat([part.x for part in sample]).unique(dim=0)) == 600


def test_small_digits_are_those_of_the_source_text():
    sample, small = pf.data.mnist_sample(), pf.data.mnist_sample(size=8)
    for x, reduced in zip(sample.test.x[:20], small.test.x, strict=False):
        image = Image.fromarray(x.reshape(28, 28).numpy()).resize((10, 10), Image.Resampling.LANCZOS)
        assert np.asarray(image)[1:9, 1:9].flatten().tolist() == reduced.tolist()
    assert small.test.x.dtype == torch.uint8
    assert small.train.x.shape == (400, 64)


@real_files
def test_the_real_files_hold_the_sample():
    data, sample = pf.data.mnist(), pf.data.mnist_sample()
    assert [len(part.x) for part in data] == [50_000, 10_000, 10_000]
    train, held, test = ({(x.numpy().tobytes(), int(y)) for x, y in zip(*part, strict=True)} for part in data)
    assert len(train | held) == 60_000
    assert not train & held
    for part, known in zip(sample, (train | held, train | held, test), strict=True):
        assert all((x.numpy().tobytes(), int(y)) in known for x, y in zip(*part, strict=True))


# ---- images of one's own ---------------------------------------------------------------------------------------------


def noise(*shape):
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, np.uint8)


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def test_grey_images_are_read_as_they_are_in_alphabetical_order(tmp_path):
    pixels = [noise(4, 6), noise(4, 6) // 2]
    save(tmp_path / "b.png", pixels[1])
    save(tmp_path / "a.png", pixels[0])
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "._a.png").write_bytes(b"no image either")
    found = pf.data.images(tmp_path)
    assert found.shape == (1, 4, 6)
    assert found.labels is None
    assert found.x.dtype == torch.uint8
    assert np.array_equal(found.x.reshape(2, 4, 6).numpy(), np.stack(pixels))


def test_colours_are_flattened_channel_by_channel(tmp_path):
    pixels = noise(4, 6, 3)
    save(tmp_path / "a.png", pixels)
    found = pf.data.images(tmp_path)
    assert found.shape == (3, 4, 6)
    assert np.array_equal(found.x[0].reshape(found.shape).numpy(), pixels.transpose(2, 0, 1))


def test_grey_beside_colour_becomes_colour_unless_grey_is_asked_for(tmp_path):
    save(tmp_path / "a.png", noise(4, 6))
    save(tmp_path / "b.png", noise(4, 6, 3))
    assert pf.data.images(tmp_path).shape == (3, 4, 6)
    assert pf.data.images(tmp_path, channels=1).shape == (1, 4, 6)


def test_sub_folders_are_the_labels(tmp_path):
    for name in ("dog/1.png", "dog/more/2.png", "cat/3.jpg"):
        save(tmp_path / name, noise(8, 8))
    (tmp_path / "empty").mkdir()
    found = pf.data.images(tmp_path)
    assert found.names == ("cat", "dog")
    assert found.labels.tolist() == [0, 1, 1]


def test_a_size_covers_the_image_and_crops_its_centre(tmp_path):
    stripes = np.zeros((10, 30), np.uint8)
    stripes[:, 10:20] = 200
    save(tmp_path / "wide.png", stripes)
    save(tmp_path / "square.png", np.full((6, 6), 200, np.uint8))
    found = pf.data.images(tmp_path, size=10)
    assert found.shape == (1, 10, 10)
    assert bool((found.x == 200).all())
    assert pf.data.images(tmp_path, size=(5, 20)).shape == (1, 5, 20)


def test_a_size_is_height_by_width(tmp_path):
    save(tmp_path / "a.png", np.repeat(np.array([10, 200], np.uint8), 20)[None].repeat(10, 0))  # dark left, light right
    x = pf.data.images(tmp_path, size=(5, 20)).x.reshape(5, 20)
    assert bool((x[:, :7] == 10).all())
    assert bool((x[:, 13:] == 200).all())


def test_photographs_are_turned_upright(tmp_path):
    pixels, how = noise(4, 6), Image.Exif()
    how[0x0112] = 6  # to be turned by 90 degrees, clockwise
    save(tmp_path / "a.png", pixels, exif=how)
    assert np.array_equal(pf.data.images(tmp_path).x.reshape(6, 4).numpy(), np.rot90(pixels, -1))


def test_opaque_images_with_an_alpha_channel_lose_it(tmp_path):
    pixels = noise(4, 6, 4)
    pixels[..., 3] = 255
    save(tmp_path / "a.png", pixels)
    found = pf.data.images(tmp_path).x.reshape(3, 4, 6).numpy()
    assert np.array_equal(found, pixels[..., :3].transpose(2, 0, 1))


@pytest.mark.parametrize("layout", ["(n, H, W)", "(n, H, W, C)", "(n, C, H, W)"])
def test_npz_files_may_hold_any_usual_layout(layout, tmp_path):
    pixels = noise(5, 3, 4, 6)
    arrays = {
        "(n, H, W)": pixels[:, 0],
        "(n, H, W, C)": pixels.transpose(0, 2, 3, 1),
        "(n, C, H, W)": pixels,
    }
    np.savez(tmp_path / "a.npz", images=arrays[layout], labels=np.arange(5)[:, None])
    found = pf.data.images(tmp_path / "a.npz")
    expected = pixels[:, :1] if layout == "(n, H, W)" else pixels
    assert found.shape == expected.shape[1:]
    assert np.array_equal(found.x.numpy(), expected.reshape(5, -1))
    assert found.labels.tolist() == [0, 1, 2, 3, 4]


def test_images_of_an_npz_file_are_resized_and_turned_grey(tmp_path):
    pixels = np.repeat(np.array([10, 20, 30], np.uint8), 36).reshape(3, 1, 6, 6).repeat(3, 1)
    np.savez(tmp_path / "a.npz", pixels)
    found = pf.data.images(tmp_path / "a.npz", size=4, channels=1)
    assert found.shape == (1, 4, 4)
    assert found.x.float().mean(1).tolist() == [10, 20, 30]


def test_one_of_several_arrays_is_chosen_by_name_and_its_labels_by_their_number(tmp_path):
    parts = {"x_train": noise(7, 4, 4), "y_train": np.arange(7), "x_test": noise(3, 4, 4), "y_test": np.arange(3)}
    np.savez(tmp_path / "a.npz", **parts)
    found = pf.data.images(tmp_path / "a.npz", array="x_test")
    assert np.array_equal(found.x.numpy(), parts["x_test"].reshape(3, 16))
    assert found.labels.tolist() == [0, 1, 2]
    with pytest.raises(InputError, match=r'several arrays hold images: .*name one, as array="x_train"'):
        pf.data.images(tmp_path / "a.npz")
    with pytest.raises(InputError, match='has no array "x"; it holds "x_train"'):
        pf.data.images(tmp_path / "a.npz", array="x")


def _mixed_sizes(folder):
    save(folder / "a.png", noise(4, 6))
    save(folder / "b.png", noise(6, 4))


def _cut_short(folder):
    save(folder / "a.png", noise(40, 40))
    (folder / "a.png").write_bytes((folder / "a.png").read_bytes()[:-300])


def _deep_colours(folder):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)  # width, height, bits, colour
    rows = zlib.compress(bytes(4 * (1 + 4 * 6)))
    parts = chunk(b"IHDR", header), chunk(b"IDAT", rows), chunk(b"IEND", b"")
    (folder / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def _mixed_depths(folder):
    save(folder / "a.png", noise(4, 6))
    save(folder / "cats" / "b.png", noise(4, 6))


BAD_FOLDERS = {
    "nothing": (lambda folder: None, r"holds no images \(files of .png, .jpg, .jpeg, in it or in sub-folders\)"),
    "mixed sizes": (_mixed_sizes, r"b.png: is 6 x 4 pixels .*a.png is 4 x 6: .*give size="),
    "no image": (lambda folder: (folder / "a.png").write_text("text"), r"a.png: is no image, damaged or cut short"),
    "cut short": (_cut_short, r"a.png: is no image, damaged or cut short"),
    "images beside sub-folders": (_mixed_depths, r"holds images \(a.png\) beside sub-folders of images \(cats\)"),
    "16 bits": (lambda folder: save(folder / "a.png", noise(4, 6).astype(np.uint16) * 200), "more than 8 bits"),
    "16 bits a colour": (_deep_colours, "more than 8 bits"),
    "transparent": (lambda folder: save(folder / "a.png", noise(4, 6, 4)), "a.png: has transparent pixels"),
}


@pytest.mark.parametrize("kind", BAD_FOLDERS)
def test_folders_that_cannot_be_read_name_file_rule_and_remedy(kind, tmp_path):
    make, message = BAD_FOLDERS[kind]
    make(tmp_path)
    with pytest.raises(InputError, match=message):
        pf.data.images(tmp_path)


BAD_ARRAYS = {
    "floats": ({"x": np.zeros((5, 4, 4))}, r'"x" \(5, 4, 4\) float64; images are an array of uint8'),
    "flat": ({"x": noise(5, 16)}, r"images are an array of uint8, \(n, H, W\)"),
    "nothing": ({}, "holds no arrays; images are"),
    "one-hot": ({"x": noise(5, 4, 4), "y": np.eye(5)}, r'"y" \(5, 5\) float64 has a row .* labels are 5 integers'),
    "names": (
        {"x": noise(2, 4, 4), "y": np.array(["a", "b"])},
        r'"y" \(2,\) <U1 has a row .*save them so, or leave it',
    ),
    "objects": ({"x": np.array([None])}, "holds Python objects"),
    "two labels": ({"x": noise(5, 4, 4), "y": np.arange(5), "z": np.arange(5)}, "both y and z could be the labels"),
}


@pytest.mark.parametrize("kind", BAD_ARRAYS)
def test_npz_files_that_hold_no_images_are_refused(kind, tmp_path):
    arrays, message = BAD_ARRAYS[kind]
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=message):
        pf.data.images(tmp_path / "a.npz")


def test_a_damaged_npz_file_is_named(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(InputError, match="a.npz: is damaged, cut short"):
        pf.data.images(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size, a number of pixels or .height, width., must be an integer of at least 1"),
        ({"size": True}, "size, a number of pixels or .height, width., must be an integer of at least 1"),
        ({"size": (4, 4, 4)}, "size, a number of pixels or .height, width., must be an integer of at least 1"),
        ({"channels": 2}, "channels must be 1"),
        ({"array": "x"}, "this is a folder"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message, tmp_path):
    with pytest.raises(InputError, match=message):
        pf.data.images(tmp_path, **options)


@pytest.mark.parametrize(("name", "message"), [("nowhere", "no such folder or file"), ("a.txt", "neither a folder")])
def test_paths_that_are_no_images_are_refused(name, message, tmp_path):
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(InputError, match=message):
        pf.data.images(tmp_path / name)
