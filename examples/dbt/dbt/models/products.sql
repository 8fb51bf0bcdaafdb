select product, sum(quantity) as sold
from {{ source('shop', 'orders__items') }}
group by product
