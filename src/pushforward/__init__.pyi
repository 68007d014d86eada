from pushforward import bases as bases
from pushforward import data as data
from pushforward import flows as flows
from pushforward import losses as losses
from pushforward import metrics as metrics
from pushforward import nets as nets
from pushforward import recipes as recipes
from pushforward import studies as studies
from pushforward import tables as tables
from pushforward import training as training
from pushforward import transforms as transforms
from pushforward import vae as vae
from pushforward.errors import InputError as InputError
from pushforward.errors import RunError as RunError
from pushforward.flows import Flow as Flow
from pushforward.flows import VariationalDequantization as VariationalDequantization
from pushforward.flows import latent_path as latent_path
from pushforward.model_file import load as load
from pushforward.model_file import save as save
from pushforward.numerics.precision import precision as precision
from pushforward.report import plots as plots
from pushforward.tables.table_model import TableModel as TableModel
from pushforward.training import History as History
from pushforward.training import fit as fit
from pushforward.verification import verify as verify

__version__: str
