"""Every transform and every recipe gives on a GPU what it gives on the CPU."""

import pytest
import torch

import pushforward as pf
import zoo


def moved(value, dtype):
    return None if value is None else value.to("cuda", dtype)


@pytest.mark.parametrize("name", zoo.TRANSFORMS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_transform_is_the_same_map_on_cuda(name, dtype):
    transform, x, context = zoo.make(name)
    with torch.no_grad():
        y, log_det = transform(x, context)
        there = transform.to("cuda", dtype)
        y_there, log_det_there = there(moved(x, dtype), moved(context, dtype))
        back, log_det_back = there.inverse(y_there, moved(context, dtype))
    exact = dtype == torch.float64
    tolerance = {"rtol": 1e-7, "atol": 1e-7} if exact else {"rtol": 2e-3, "atol": 2e-3}
    torch.testing.assert_close(y_there.double().cpu(), y, **tolerance)
    torch.testing.assert_close(log_det_there.double().cpu(), log_det, **tolerance)
    if exact:
        near = {"rtol": zoo.tolerance(name), "atol": zoo.tolerance(name)}
        torch.testing.assert_close(back.cpu(), x, **near)
        torch.testing.assert_close(log_det_back.cpu(), -log_det, **near)


@pytest.mark.parametrize("name", zoo.FLOWS)
def test_a_flow_is_saved_scored_and_sampled_on_cuda(name, tmp_path):
    flow = zoo.make_flow(name).float()
    context = zoo.context_for(flow, 20)
    context = None if context is None else context.float()
    x = flow.sample(1, context).squeeze(-2) if context is not None else flow.sample(20)
    here = flow.log_prob(x, context)
    there = flow.to("cuda")
    on_gpu = None if context is None else context.cuda()
    found = there.log_prob(x.cuda(), on_gpu)
    torch.testing.assert_close(found.cpu(), here, rtol=5e-3, atol=5e-2)
    assert there.encode(x.cuda(), on_gpu).device.type == "cuda"
    assert there.log_prob(x.numpy(), None if context is None else context.numpy()).device.type == "cuda"
    generator = torch.Generator("cuda").manual_seed(0)
    assert there.sample(3, on_gpu, generator=generator).device.type == "cuda"
    pf.save(there, tmp_path / "flow.safetensors")
    loaded = pf.load(tmp_path / "flow.safetensors")
    torch.testing.assert_close(loaded.log_prob(x, context), here, rtol=5e-3, atol=5e-2)
